"""The doctor's look at Azure DevOps: the projects, each route's pipeline, and whether its run would be accepted.

A run is tried by its preview, which queues nothing whatever goes wrong. A PAT may preview with the scope to read builds
(``vso.build``); to queue it needs the one to execute them as well (``vso.build_execute``), which no preview can show.
Source: Azure DevOps REST API 7.1, Preview and Runs.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from shared.azure_devops.client import PipelinesClient, choose_pipeline
from shared.azure_devops.runs import RunRequest
from shared.clock import Clock, utc_now
from shared.errors import AzureDevOpsError, CredentialRejected, PermissionDenied, RequestRefused
from shared.routing.table import Route
from tools.actions.check_results import CheckResult, split_advice
from tools.routes.matching_events import NoEvent, matching_event
from tools.wording import counted

PROJECT: Final = "Azure DevOps"
PIPELINE: Final = "pipeline"
QUEUE: Final = "queue"

REQUEST_SECONDS: Final = 30

_CHECK_THE_WAY: Final = "check AZURE_DEVOPS_ORG_URL, and the way there: DNS, proxy, firewall"
_CHECK_THE_ROUTE: Final = "correct the route or the pipeline; 'manage.py preview --all' shows what is asked for"
_RENEW: Final = (
    "renew the PAT, or add the app's identity to the organization and the project; or correct AZURE_DEVOPS_ORG_URL"
)
_QUEUE_BUILDS: Final = "give the app's identity the permission 'Queue builds' on the pipeline or its folder"

_Pipelines = Mapping[str, int]


class AzureDevOpsChecks:
    """Looks, and queues nothing."""

    def __init__(self, pipelines: PipelinesClient, clock: Clock = utc_now) -> None:
        self._pipelines = pipelines
        self._clock = clock

    def results(self, routes: Sequence[Route]) -> Iterator[CheckResult]:
        """First the projects, then the routes' pipelines, then their runs."""
        projects: dict[str, _Pipelines] = {}
        for name, route in {_project(route): route for route in routes}.items():
            try:
                projects[name] = self._pipelines.list_pipelines(_bare(route), self._deadline())
            except AzureDevOpsError as exc:
                yield _failed(PROJECT, name, exc, _CHECK_THE_WAY)
            else:
                yield CheckResult.ok(PROJECT, f"{name}: {counted(len(projects[name]), 'pipeline')} can be seen")
        there: list[Route] = []
        for route in routes:
            result = _pipeline(route, projects.get(_project(route)))
            yield result
            there += [route] if result.is_ok else []
        for route in routes:
            yield (
                self._queue(route)
                if route in there
                else CheckResult.skipped(QUEUE, f"{route.name}: its pipeline first")
            )

    def _queue(self, route: Route) -> CheckResult:
        """Whether its run would be accepted, as a preview tells; without a sample, whether any is let in."""
        made = matching_event(route)
        request = _bare(route) if isinstance(made, NoEvent) else made.match.request
        try:
            self._pipelines.preview(request, self._deadline())
        except PermissionDenied as exc:
            return _failed(QUEUE, route.name, exc, _QUEUE_BUILDS)
        except RequestRefused as exc:
            if not isinstance(made, NoEvent):
                return _failed(QUEUE, route.name, exc, _CHECK_THE_ROUTE)
        except AzureDevOpsError as exc:
            return _failed(QUEUE, route.name, exc, _CHECK_THE_WAY)
        words = "a preview of its run is accepted"
        if isinstance(made, NoEvent):
            words = "a preview is let in; its parameters were not tried, since no sample event could be made for it"
        return CheckResult.ok(QUEUE, f"{route.name}: {words}")

    def _deadline(self) -> datetime:
        return self._clock() + timedelta(seconds=REQUEST_SECONDS)


def _pipeline(route: Route, pipelines: _Pipelines | None) -> CheckResult:
    """Whether the route's pipeline is among those of its project; None: they are not known."""
    if pipelines is None:
        return CheckResult.skipped(PIPELINE, f"{route.name}: the pipelines of {_project(route)} cannot be read")
    try:
        wanted = route.pipeline
        pipeline_id = wanted if isinstance(wanted, int) else choose_pipeline(_bare(route), wanted, pipelines)
    except RequestRefused as exc:
        return _failed(PIPELINE, route.name, exc, _CHECK_THE_ROUTE)
    for path, number in pipelines.items():
        if number == pipeline_id:
            return CheckResult.ok(PIPELINE, f"{route.name}: {path} ({number})")
    what = f"{route.name}: {_project(route)} has no pipeline {pipeline_id}, or the app may not see it"
    return CheckResult.failed(
        PIPELINE, what, "correct 'pipeline' of the route, or let the app's identity view that pipeline"
    )


def _failed(check: str, subject: str, exc: Exception, otherwise: str) -> CheckResult:
    what, advice = split_advice(exc, otherwise)
    if isinstance(exc, CredentialRejected):
        advice = _RENEW
    return CheckResult.failed(check, f"{subject}: {what}", advice)


def _bare(route: Route) -> RunRequest:
    """A run of the route's pipeline, without parameters."""
    return RunRequest(route.organization_url, route.project, route.pipeline, route.branch)


def _project(route: Route) -> str:
    return f"{route.organization_url}/{route.project}"
