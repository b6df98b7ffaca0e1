"""Judges whether a listed build is the run of a request whose answer was lost. Pure.

Source of the shapes: Azure DevOps REST API 7.1, Build - Builds - List. What the service does to values is in
docs/how-it-works.md: it keeps template parameters as JSON and returns ``value.ToString()``.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum, auto
from typing import Any, Final, Self

from shared.azure_devops.runs import Run, RunRequest, read_id, web_url
from shared.errors import AnswerLost

_BY_A_PERSON_OR_AN_API: Final = "manual"
_CANCELED: Final = frozenset({"canceled", "cancelling"})
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


@dataclass(frozen=True, slots=True)
class Expected:
    """The request whose run is looked for.

    :param orchestration_id: the id that was sent as ``X-VSS-E2EID``, in lower case.
    :param requester: the id, in lower case, of the identity that sent it; None if unknown: then requesters are not
        compared.
    """

    request: RunRequest
    orchestration_id: str
    requester: str | None = None


@dataclass(frozen=True, slots=True)
class Build:
    """A run as the Build API lists it. None stands for what the listing does not show.

    :param queue_time: when it was queued, as the server wrote it.
    :param queued_at: the same, in this process's time.
    :param requesters: ids of the identities that asked for it, in lower case.
    :param plan_ids: ids of its orchestration plans, in lower case.
    :param parameters: template parameters by name.
    :param variables: variables set when it was queued, by name.
    """

    run: Run
    queue_time: str
    queued_at: datetime | None
    pipeline_id: int | None
    is_canceled: bool
    is_finished: bool
    reason: str | None
    requesters: frozenset[str]
    plan_ids: frozenset[str]
    branch: str | None
    revision: int | None
    parameters: Mapping[str, str | None] | None
    variables: Mapping[str, str | None] | None

    def moved(self, by: timedelta) -> Self:
        """Return the build with another clock's time."""
        try:
            return self if self.queued_at is None else replace(self, queued_at=self.queued_at + by)
        except OverflowError:  # the first or the last time of all stands for a missing one
            return replace(self, queued_at=None)


def read_builds(document: Any) -> list[Build]:
    """Read a page of builds, in the server's order. A build that cannot be read is not ours, and is left out.

    :raises AnswerLost: the answer is not a list of builds.
    """
    if not isinstance(document, dict) or not isinstance(document.get("value"), list):
        raise AnswerLost("the answer is not a list of builds")
    return [build for one in document["value"] if (build := _read_build(one)) is not None]


def group_by_likeness(builds: Iterable[Build], expected: Expected) -> dict[Likeness, list[Build]]:
    """Group builds by their likeness; in each group live ones come before canceled ones."""
    found: dict[Likeness, list[Build]] = {likeness: [] for likeness in Likeness}
    for build in sorted(builds, key=lambda build: build.is_canceled):
        found[likeness_of(build, expected)].append(build)
    return found


def likeness_of(build: Build, expected: Expected) -> Likeness:
    """Compare one build with the request whose run is looked for."""
    request = expected.request
    if expected.orchestration_id in build.plan_ids:
        return Likeness.EXACT
    if (name := request.correlation_parameter) is not None:
        match _values_likeness({name: request.parameters[name]}, build.parameters):
            case Likeness.FIT:
                return Likeness.EXACT
            case Likeness.DIFFERENT:
                return Likeness.DIFFERENT
    if (
        build.reason not in {None, _BY_A_PERSON_OR_AN_API}
        or request.ref_name not in {None, build.branch}
        or request.pipeline_version not in {None, build.revision}
        or (expected.requester is not None and build.requesters and expected.requester not in build.requesters)
    ):
        return Likeness.DIFFERENT
    values = _values_likeness(request.parameters, build.parameters)
    variables = _values_likeness(request.variables, build.variables)
    is_shown = build.requesters or expected.requester is None
    return _weakest(values, variables, Likeness.FIT if is_shown else Likeness.UNCLEAR)


def differences(build: Build, expected: Expected) -> list[str]:
    """Return in words what shows that a build is not the request's run. For people."""
    request, found = expected.request, []
    if build.reason not in {None, _BY_A_PERSON_OR_AN_API}:
        found.append(f"its reason is {build.reason}")
    if expected.requester is not None and build.requesters and expected.requester not in build.requesters:
        found.append("another identity requested it")
    if request.ref_name not in {None, build.branch}:
        found.append(f"its branch is {build.branch}")
    if request.pipeline_version not in {None, build.revision}:
        found.append(f"its version of the pipeline is {build.revision}")
    for sent, listed in ((request.parameters, build.parameters), (request.variables, build.variables)):
        by_name = {name.lower(): value for name, value in (listed or {}).items()}
        for name, value in sent.items() if listed is not None else ():
            if _values_likeness({name: value}, listed) is Likeness.DIFFERENT:
                found.append(f"{name} is {by_name.get(name.lower())!r} instead of {value!r}")
    return found


def extra_parameters(build: Build, request: RunRequest) -> dict[str, str]:
    """Return the template parameters that a build carries and the request does not send.

    They are the pipeline's defaults if the build is the request's run.
    """
    return {name: _text(value) for name, value in _extras(build.parameters, request.parameters).items()}


def may_be_reformatted(build: Build, request: RunRequest) -> bool:
    """Return whether a parameter that the request does not send may have another value than the list shows."""
    values = _extras(build.parameters, request.parameters).values()
    return any(
        value is None
        or not isinstance(value, str)
        or value.lower() in {"true", "false"}
        or _FORMATTED.fullmatch(value) is not None
        or _json_container(value) is not None
        for value in values
    )


def extra_variables(build: Build, request: RunRequest) -> dict[str, Any]:
    """Return the variables that a build was queued with and the request does not send."""
    return _extras(build.variables, request.variables)


def _extras(listed: Mapping[str, Any] | None, sent: Mapping[str, str]) -> dict[str, Any]:
    names = {name.lower() for name in sent}
    return {name: value for name, value in (listed or {}).items() if name.lower() not in names}


def _read_build(build: Any) -> Build | None:
    if not isinstance(build, dict):
        return None
    try:
        return _build(build)
    except (TypeError, KeyError, ValueError, RecursionError):
        return None


def _build(build: Mapping[str, Any]) -> Build:
    definition, variables = build.get("definition"), build.get("parameters")
    plans = [build.get("orchestrationPlan"), *_list(build.get("plans"))]
    requesters = [build.get("requestedBy"), build.get("requestedFor")]
    return Build(
        Run(read_id(build), web_url(build), tuple(tag for tag in _list(build.get("tags")) if isinstance(tag, str))),
        queue_time=str(build.get("queueTime") or ""),
        queued_at=_instant(str(build.get("queueTime"))),
        pipeline_id=definition.get("id") if isinstance(definition, dict) else None,
        is_canceled=not _CANCELED.isdisjoint((build.get("status"), build.get("result"))),
        is_finished=build.get("status") == "completed",
        reason=_string(build.get("reason")),
        requesters=frozenset(_ids(requesters, "id")),
        plan_ids=frozenset(_ids(plans, "planId")),
        branch=_string(build.get("sourceBranch")),
        revision=definition.get("revision") if isinstance(definition, dict) else None,
        parameters=_texts(build.get("templateParameters")),
        variables=None if variables is None else _texts(json.loads(variables)),
    )


def _texts(values: Any) -> Mapping[str, str | None] | None:
    """Return values as strings. None stays: the listing does not show the value."""
    if not isinstance(values, dict | None):
        raise TypeError("the values are not an object")
    return None if values is None else {name: None if value is None else _text(value) for name, value in values.items()}


def _string(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


def _ids(objects: Iterable[Any], name: str) -> list[str]:
    return [one[name].lower() for one in objects if isinstance(one, dict) and isinstance(one.get(name), str)]


def _values_likeness(sent: Mapping[str, str], listed: Mapping[str, str | None] | None) -> Likeness:
    if not sent:
        return Likeness.FIT
    if listed is None:
        return Likeness.UNCLEAR
    by_name = {name.lower(): value for name, value in listed.items()}
    if any(name.lower() not in by_name for name in sent):
        return Likeness.DIFFERENT
    return _weakest(*(_value_likeness(value, by_name[name.lower()]) for name, value in sent.items()))


def _value_likeness(sent: str, text: str | None) -> Likeness:
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
    instant, expected = _instant(listed), _instant(sent)
    if instant is None or expected is None:
        return Likeness.UNCLEAR
    if _FORMATTED.fullmatch(listed) is None:
        is_equal = instant == expected and _fraction(listed) in {"", _fraction(sent)}
        is_truncated = not _fraction(listed) and timedelta() <= expected - instant < _SECOND
        return Likeness.FIT if is_equal or is_truncated else Likeness.DIFFERENT
    expected = expected.replace(microsecond=0)
    if instant == expected:
        return Likeness.FIT
    for other in (instant, *_parsed(listed, _OTHER_FORMS)):
        apart = abs(other - expected)
        if apart <= _MAX_ZONE and not apart % _QUARTER:
            return Likeness.UNCLEAR
    return Likeness.DIFFERENT


def _fraction(text: str) -> str:
    found = re.search(r"\.(\d+)", text)
    return found[1].rstrip("0") if found else ""


def _weakest(*likenesses: Likeness) -> Likeness:
    return max(likenesses, key=lambda likeness: likeness.value)


def _text(value: Any) -> str:
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


def _instant(text: str) -> datetime | None:
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
