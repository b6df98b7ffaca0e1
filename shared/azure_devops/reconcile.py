"""Judges whether a listed build is the run of a request whose answer was lost. Pure.

Source of the shapes: Azure DevOps REST API 7.1, Build - Builds - List.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, Self

from shared.azure_devops.runs import Run, RunRequest, read_id, web_url
from shared.azure_devops.values import Likeness, instant, may_have_another_form, text_of, value_likeness, weaker
from shared.errors import AnswerLost

_BY_A_PERSON_OR_AN_API: Final = "manual"
_CANCELED: Final = frozenset({"canceled", "cancelling"})


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
    :param status: as the server names it: ``notStarted``, ``inProgress``, ``completed`` and others; empty if unknown.
    :param result: the same: ``succeeded``, ``failed`` and others; empty until the run is completed.
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
    status: str = ""
    result: str = ""

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
    if expected.orchestration_id in build.plan_ids:
        return Likeness.EXACT
    request, found = expected.request, Likeness.FIT
    if (name := request.correlation_parameter) is not None:
        ((likeness, _),) = _compared_values({name: request.parameters[name]}, build.parameters)
        if likeness is not Likeness.UNCLEAR:
            return Likeness.EXACT if likeness is Likeness.FIT else likeness
    for likeness, _ in _compared(build, expected):
        if likeness is Likeness.DIFFERENT:
            return likeness
        found = weaker(found, likeness)
    return found


def differences(build: Build, expected: Expected) -> list[str]:
    """Return in words what shows that a build is not the request's run. For people."""
    return [words for likeness, words in _compared(build, expected) if likeness is Likeness.DIFFERENT]


def _compared(build: Build, expected: Expected) -> Iterator[tuple[Likeness, str]]:
    """Yield how far each part of a build agrees with the request, and in words what it is if it does not."""
    request, requester = expected.request, expected.requester
    yield _agrees(build.reason in {None, _BY_A_PERSON_OR_AN_API}), f"its reason is {build.reason}"
    if requester is not None:
        is_same = requester in build.requesters
        yield _agrees(is_same) if build.requesters else Likeness.UNCLEAR, "another identity requested it"
    yield _agrees(request.ref_name in {None, build.branch}), f"its branch is {build.branch}"
    is_version = request.pipeline_version in {None, build.revision}
    yield _agrees(is_version), f"its version of the pipeline is {build.revision}"
    yield from _compared_values(request.parameters, build.parameters)
    yield from _compared_values(request.variables, build.variables)


def _compared_values(
    sent: Mapping[str, str], listed: Mapping[str, str | None] | None
) -> Iterator[tuple[Likeness, str]]:
    shown = dict.fromkeys(sent) if listed is None else listed
    by_name = {name.lower(): value for name, value in shown.items()}
    for name, value in sent.items():
        found = by_name.get(name.lower())
        likeness = value_likeness(value, found) if name.lower() in by_name else Likeness.DIFFERENT
        yield likeness, "" if likeness is not Likeness.DIFFERENT else f"{name} is {found!r} instead of {value!r}"


def _agrees(is_equal: bool) -> Likeness:  # noqa: FBT001 - it is converted
    return Likeness.FIT if is_equal else Likeness.DIFFERENT


def extra_parameters(build: Build, request: RunRequest) -> dict[str, str]:
    """Return the template parameters that a build carries and the request does not send.

    They are the pipeline's defaults if the build is the request's run.
    """
    return {name: text_of(value) for name, value in _extras(build.parameters, request.parameters).items()}


def may_be_reformatted(build: Build, request: RunRequest) -> bool:
    """Return whether a parameter that the request does not send may have another value than the list shows."""
    return any(map(may_have_another_form, _extras(build.parameters, request.parameters).values()))


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
        queued_at=instant(str(build.get("queueTime"))),
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
        status=_string(build.get("status")) or "",
        result=_string(build.get("result")) or "",
    )


def _texts(values: Any) -> Mapping[str, str | None] | None:
    """Return values as strings. None stays: the listing does not show the value."""
    if not isinstance(values, dict | None):
        raise TypeError("the values are not an object")
    return (
        None if values is None else {name: None if value is None else text_of(value) for name, value in values.items()}
    )


def _string(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


def _ids(objects: Iterable[Any], name: str) -> list[str]:
    return [one[name].lower() for one in objects if isinstance(one, dict) and isinstance(one.get(name), str)]
