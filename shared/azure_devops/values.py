"""The forms in which Azure DevOps lists values: exact strings, true and false, JSON, date-times. Pure.

What the service does to values is in docs/how-it-works.md: it keeps template parameters as JSON and returns
``value.ToString()``.
"""

import json
import re
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum, auto
from typing import Any, Final

# Newtonsoft.Json, which the service uses, takes a string for a date-time only in this form.
_DATE_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d(:?\d\d)?)?")
# How .NET writes a date-time: without a fraction and a zone, in an order that depends on the server's culture.
_FORMATTED: Final = re.compile(r"\d{1,2}[/.-]\d{1,2}[/.-]\d{4} \d{1,2}:\d\d:\d\d( [AP]M)?")
_FORMS: Final = ("%m/%d/%Y %H:%M:%S", "%m/%d/%Y %I:%M:%S %p")
_OTHER_FORMS: Final = ("%d/%m/%Y %H:%M:%S", "%d.%m.%Y %H:%M:%S", "%d-%m-%Y %H:%M:%S", "%d/%m/%Y %I:%M:%S %p")
_SECOND: Final = timedelta(seconds=1)
_QUARTER: Final = timedelta(minutes=15)
_MAX_ZONE: Final = timedelta(hours=14)


class Likeness(Enum):
    """How far a listed build agrees with a request."""

    EXACT = auto()
    """It is the request's run: it carries the request's orchestration id or correlation parameter."""
    FIT = auto()
    """It may be the request's run: everything that the listing shows is equal."""
    UNCLEAR = auto()
    """The listing does not show enough, or shows a value in a form that is not known."""
    DIFFERENT = auto()


def value_likeness(sent: str, text: str | None) -> Likeness:
    """Compare values as exact strings, except true and false, JSON objects and lists, and date-times."""
    if text is None:
        return Likeness.UNCLEAR
    if text == sent or (sent.lower() in {"true", "false"} and text.lower() == sent.lower()):
        return Likeness.FIT
    if (sent_json := _json_container(sent)) is not None:
        return _json_likeness(sent_json, _json_container(text))
    if _DATE_TIME.fullmatch(sent):
        return _date_time_likeness(sent, text)
    return Likeness.UNCLEAR if text.split() == sent.split() else Likeness.DIFFERENT


def _json_likeness(sent: Any, listed: Any) -> Likeness:
    """Compare JSON objects or lists. The service may write a number in another form, as 1.1 for 1.10."""
    if sent == listed:
        return Likeness.FIT
    return Likeness.UNCLEAR if _with_numbers(sent) == _with_numbers(listed) else Likeness.DIFFERENT


def _date_time_likeness(sent: str, listed: str) -> Likeness:
    """Compare date-times as instants.

    A list without fractions cannot show them. A form without a zone may be in the server's time, and its first two
    numbers may be day and month.
    """
    moment, expected = instant(listed), instant(sent)
    if moment is None or expected is None:
        return Likeness.UNCLEAR
    if _FORMATTED.fullmatch(listed) is None:
        is_equal = moment == expected and _fraction(listed) in {"", _fraction(sent)}
        is_truncated = not _fraction(listed) and timedelta() <= expected - moment < _SECOND
        return Likeness.FIT if is_equal or is_truncated else Likeness.DIFFERENT
    expected = expected.replace(microsecond=0)
    if moment == expected:
        return Likeness.FIT
    for other in (moment, *_parsed(listed, _OTHER_FORMS)):
        apart = abs(other - expected)
        if apart <= _MAX_ZONE and not apart % _QUARTER:
            return Likeness.UNCLEAR
    return Likeness.DIFFERENT


def _fraction(text: str) -> str:
    found = re.search(r"\.(\d+)", text)
    return found[1].rstrip("0") if found else ""


def weaker(one: Likeness, other: Likeness) -> Likeness:
    """Return the likeness of two parts together."""
    return max(one, other, key=lambda likeness: likeness.value)


def may_have_another_form(listed: Any) -> bool:
    """Return whether the value of a parameter may have been another one than the list shows."""
    return (
        not isinstance(listed, str)
        or listed.lower() in {"true", "false"}
        or _FORMATTED.fullmatch(listed) is not None
        or _json_container(listed) is not None
    )


def text_of(value: Any) -> str:
    """Return a value of a JSON document as a string."""
    return value if isinstance(value, str) else json.dumps(value)


def _json_container(text: str) -> dict[str, Any] | list[Any] | None:
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        value = json.loads(text, parse_int=_Number, parse_float=_Number)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict | list) else None


class _Number(str):
    """A number in JSON, as its text."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Number) and str.__eq__(self, other)

    def __hash__(self) -> int:
        return str.__hash__(self)


def _with_numbers(value: Any) -> Any:
    match value:
        case _Number():
            return "number", Decimal(value)
        case dict():
            return {name: _with_numbers(inner) for name, inner in value.items()}
        case list():
            return [_with_numbers(inner) for inner in value]
        case _:
            return value


def instant(text: str) -> datetime | None:
    """Return the time that a string names, in UTC if it names no zone; None if its form is not known."""
    if found := _parsed(text, _FORMS):
        return found[0]
    try:
        moment = datetime.fromisoformat(text.upper())
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _parsed(text: str, forms: Iterable[str]) -> list[datetime]:
    """Return what the string means in each of the forms, in UTC."""
    found = []
    for form in forms:
        with suppress(ValueError):
            found.append(datetime.strptime(text, form).replace(tzinfo=UTC))
    return found
