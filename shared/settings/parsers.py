"""Parsers that convert the text of a setting to its value. Each raises InvalidValue for an invalid text. Pure."""

import base64
import re
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from shared.clouds import storage_service
from shared.journal.backends import backend_of
from shared.settings.setting import InvalidValue

_FERNET_KEY_BYTES: Final = 32
_QUEUE_SERVICE: Final = "https://<account>.queue.core.windows.net"
_GUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_HOST: Final = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)*(:[1-9][0-9]{0,4})?", re.ASCII)

T = TypeVar("T")


def number_of(unit: str, *, at_most: float) -> Callable[[str], float]:
    """Return a parser of numbers above zero.

    :param unit: the unit, for the message.
    :param at_most: the largest number that is accepted. Larger ones are mistakes, or overflow in computations of time.
    """

    def parse(value: str) -> float:
        try:
            number = float(value)
        except ValueError:
            number = -1.0
        if not 0 < number <= at_most:
            raise InvalidValue(f"must be a number of {unit} above zero, at most {at_most:g}")
        return number

    return parse


def whole_number(*, at_most: int) -> Callable[[str], int]:
    """Return a parser of whole numbers above zero."""

    def parse(value: str) -> int:
        # Python converts no more than 4,300 digits.
        if not value.isdecimal() or len(value) > len(str(at_most)) or not 0 < int(value) <= at_most:
            raise InvalidValue(f"must be a whole number above zero, at most {at_most}")
        return int(value)

    return parse


def one_of(choices: Mapping[str, T]) -> Callable[[str], T]:
    """Return a parser that accepts the keys of ``choices`` and returns the value of the key."""

    def parse(value: str) -> T:
        if value not in choices:
            # A longer value is more than a misspelled choice, for example a PAT.
            may_show = len(value) <= max(map(len, choices))
            raise InvalidValue("must be " + " or ".join(f"'{name}'" for name in choices), may_show=may_show)
        return choices[value]

    return parse


def matching(pattern: str, problem: str) -> Callable[[str], str]:
    """Return a parser that accepts a string if all of it matches the pattern, in any case.

    :param problem: the message for a string that does not match.
    """

    def parse(value: str) -> str:
        if not re.fullmatch(pattern, value, re.IGNORECASE):
            raise InvalidValue(problem)
        return value

    return parse


def several(pattern: str, what: str) -> Callable[[str], tuple[str, ...]]:
    """Return a parser of strings that are separated by commas and match the pattern, in any case.

    :param what: what each of them is, for the message.
    """

    def parse(value: str) -> tuple[str, ...]:
        found = _parts(value)
        for each in found:
            if not re.fullmatch(pattern, each, re.IGNORECASE):
                raise InvalidValue(f"contains '{each}', which is not {what}")
        return found

    return parse


def url(value: str) -> str:
    """Return a URL after checking that it contains no credential. Its form is checked where it is used."""
    if set(value) & set("@?#"):
        raise InvalidValue("must not contain a user name, password, query or fragment", may_show=False)
    return value


def hosts(value: str) -> tuple[str, ...]:
    """Return hosts, each ``host`` or ``host:port``, in lower case."""
    found = tuple(host.lower() for host in _parts(value))
    for host in found:
        if not _HOST.fullmatch(host):
            raise InvalidValue(
                f"contains '{host}', which is not a host such as tfs.contoso.com or tfs.contoso.com:8443"
            )
    return found


def is_true(value: str) -> bool:
    """Return whether the value is ``True``, in any case."""
    return value.lower() == "true"


def client_ids(value: str) -> tuple[str, ...]:
    """Return the client ids of applications, in lower case."""
    found = tuple(part.lower() for part in _parts(value))
    for number, each in enumerate(found, 1):
        if not _GUID.fullmatch(each):  # perhaps the application's secret
            raise InvalidValue(f"cannot be used: client id {number} is not a GUID", may_show=False)
    return found


def fernet_keys(value: str) -> tuple[str, ...]:
    """Return Fernet keys, the newest first."""
    keys = _parts(value)
    for number, key in enumerate(keys, 1):
        if not _is_fernet_key(key):
            raise InvalidValue(
                f"cannot be used: key {number} is not a Fernet key (32 bytes in URL-safe base64); create one with: "
                'python -c "from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())"'
            )
    return keys


def connection(value: str) -> str:
    """Return the connection of a journal after checking it; see ``shared.journal.backends``."""
    if (problem := backend_of(value).problem(value)) is not None:
        raise InvalidValue(problem)
    return value


def resume_storage(value: str) -> str:
    """Return where the queue of deferred records is: ``sqlite``, or a storage account's connection string."""
    if value.lower().startswith(("http://", "https://")):
        raise InvalidValue("is a URL, which belongs in RESUME_STORAGE__queueServiceUri", may_show=False)
    names = {part.partition("=")[0].strip().lower() for part in value.split(";")}
    if value != "sqlite" and not ({"accountname", "accountkey"} <= names or "usedevelopmentstorage" in names):
        raise InvalidValue(
            "must be 'sqlite', or a storage account's connection string with AccountName and AccountKey", may_show=False
        )
    return value


def queue_service(value: str) -> str:
    """Return the URL of a queue service after checking that it is not an endpoint of another storage service."""
    if not re.fullmatch("https://[^@?#]*", value, re.IGNORECASE):
        raise InvalidValue(f"must begin with https://, as in {_QUEUE_SERVICE}")
    if (service := storage_service(value)) not in {None, "queue"}:
        raise InvalidValue(f"must be a queue endpoint, as in {_QUEUE_SERVICE}, not a {service} endpoint")
    return value


def _parts(value: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _is_fernet_key(key: str) -> bool:
    try:
        return len(base64.urlsafe_b64decode(key)) == _FERNET_KEY_BYTES
    except ValueError:
        return False
