"""A row of the table of settings."""

from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any, Final, NamedTuple, TypeVar, overload

from shared.http.masking import without_url_credentials

ROW: Final = "setting"
"""The key under which the metadata of a field holds its row."""

T = TypeVar("T")


class InvalidValue(Exception):
    """The value of a setting is invalid. The message continues "it …": "must be a number of seconds above zero".

    :param may_show: False if the value is probably a secret in the wrong place.
    """

    def __init__(self, message: str, *, may_show: bool = True) -> None:
        super().__init__(message)
        self.may_show = may_show


class Setting(NamedTuple):
    """A setting: its name, its meaning and its parser.

    :param name: the name of the environment variable.
    :param parse: converts the text to the value; raises InvalidValue.
    :param meaning: the description in docs/settings.md, in Markdown. It states the unit.
    :param default: the text that applies if the setting is not set; None if the value is then None.
    :param is_secret: whether the value may contain a secret and must never be shown.
    :param is_set_by_azure: whether Azure sets it, not the user.
    """

    name: str
    parse: Callable[[str], Any]
    meaning: str
    default: str | None = None
    is_secret: bool = False
    is_set_by_azure: bool = False

    def read(self, environment: Mapping[str, str]) -> Any:
        """Return the value. An empty text counts as not set.

        :raises InvalidValue: the text is invalid. The message is complete and contains no secret.
        """
        text = environment.get(self.name, "").strip()
        if not text:
            return self.default_value
        try:
            return self.parse(text)
        except InvalidValue as exc:
            shown = "" if self.is_secret or not exc.may_show else f"is '{without_url_credentials(text)}'; it "
            raise InvalidValue(f"{self.name} {shown}{exc}") from None

    @property
    def default_value(self) -> Any:
        """Return the value that applies if the setting is not set."""
        return None if self.default is None else self.parse(self.default)


@overload
def setting(name: str, parse: Callable[[str], T], meaning: str, *, default: str, **flags: bool) -> T: ...
@overload
def setting(name: str, parse: Callable[[str], T], meaning: str, **flags: bool) -> T | None: ...
def setting(name: str, parse: Callable[[str], Any], meaning: str, **options: Any) -> Any:
    """Declare a dataclass field whose value comes from a setting; see ``Setting``. The repr omits secrets."""
    row = Setting(name, parse, meaning, **options)
    return field(repr=not row.is_secret, metadata={ROW: row})
