"""One row of the table of settings."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar, overload

ROW: Final = "setting"
"""The key of a field's metadata that holds its row."""

T = TypeVar("T")


class Unusable(Exception):
    """A value cannot be used. The text continues "it …", as in "must be a number of seconds above zero"."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting: what it is called, what it means, and how its text becomes a value.

    :param name: the environment variable.
    :param parse: returns the value; raises Unusable.
    :param meaning: one table cell of docs/settings.md, in Markdown; names the unit.
    :param default: as a user would write it; None if the setting may be missing.
    :param is_secret: whether the value may hold a secret, and so never shows.
    :param is_set_by_azure: whether Azure's hosts set it, and users do not.
    """

    name: str
    parse: Callable[[str], Any]
    meaning: str
    default: str | None = None
    is_secret: bool = False
    is_set_by_azure: bool = False

    def read(self, environment: Mapping[str, str]) -> Any:
        """Return the value; one that is empty is not set.

        :raises Unusable: with the whole problem; no secret is in the text.
        """
        text = environment.get(self.name, "").strip()
        if not text:
            return self.default_value
        try:
            return self.parse(text)
        except Unusable as exc:
            shown = "" if self.is_secret else f"is '{text}'; it "
            raise Unusable(f"{self.name} {shown}{exc}") from None

    @property
    def default_value(self) -> Any:
        """Return the value of a setting that is not set."""
        return None if self.default is None else self.parse(self.default)


@overload
def setting(name: str, parse: Callable[[str], T], meaning: str, *, default: str, **flags: bool) -> T: ...
@overload
def setting(name: str, parse: Callable[[str], T], meaning: str, **flags: bool) -> T | None: ...
def setting(name: str, parse: Callable[[str], Any], meaning: str, **options: Any) -> Any:
    """Declare a dataclass field that is read from a setting; see ``Setting``. A secret is not in the repr."""
    row = Setting(name, parse, meaning, **options)
    return field(repr=not row.is_secret, metadata={ROW: row})
