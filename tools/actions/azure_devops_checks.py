"""The doctor's checks of Azure DevOps: projects, clocks, each route's pipeline, and whether its run would be accepted.

A preview checks a run and never queues it. It checks neither the permission to queue builds nor a PAT's scope to
execute builds (``vso.build_execute``), which queuing needs: a PAT can preview with the scope to read builds
(``vso.build``).
Source: Azure DevOps REST API 7.1, Preview and Runs; code of Azure DevOps Server 2022.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from shared.azure_devops.client import PipelinesClient, choose_pipeline
from shared.azure_devops.runs import RunRequest
from shared.clock import utc_now
from shared.errors import AzureDevOpsError, CredentialRejected, RequestRefused
from shared.routing.table import Route
from tools.actions.check_results import CheckResult, Status, clock_check, failed
from tools.presentation import counted, network_advice
from tools.routes.matching_events import NoEvent, matching_event

PROJECT: Final = "Azure DevOps"
PIPELINE: Final = "pipeline"
QUEUE: Final = "queue"
PERMISSION: Final = "permission"

REQUEST_SECONDS: Final = 30

_CHECK_THE_ROUTE: Final = "correct the route or the pipeline; 'manage.py preview --all' shows what is requested"
_CORRECT_PIPELINE: Final = "correct 'pipeline' in the route, or let the app's identity view that pipeline"
_RENEW: Final = (
    "renew the PAT, or add the app's identity to the organization and the project; or correct AZURE_DEVOPS_ORG_URL"
)
_QUEUE_BUILDS: Final = (
    "to queue builds: not shown by a preview; see the permissions of the app's identity on the pipeline or its folder"
)

_NO_SAMPLE: Final = "its parameters were not tried, because no event could be made that its condition matches"
_PREVIEW_AN_EVENT: Final = "preview an event that it matches: manage.py preview EVENT.json"

_Pipelines = Mapping[str, int]


def check_azure_devops(client: PipelinesClient, routes: Sequence[Route]) -> Iterator[CheckResult]:
    """Check the projects, the organizations' clocks, the routes' pipelines and their runs. Nothing is queued."""
    projects: dict[str, _Pipelines] = {}
    organizations: dict[str, RunRequest] = {}
    for name, route in {_project(route): route for route in routes}.items():
        try:
            projects[name] = client.list_pipelines(_bare_request(route), _deadline())
        except CredentialRejected as exc:
            yield replace(failed(PROJECT, exc, _RENEW, f"{name}: "), next_step=_RENEW)
        except AzureDevOpsError as exc:
            yield failed(PROJECT, exc, network_advice(route.organization_url), f"{name}: ")
        else:
            yield CheckResult(PROJECT, Status.OK, f"{name}: {counted(len(projects[name]), 'pipeline')} visible")
            organizations[route.organization_url] = _bare_request(route)
    for url, request in organizations.items():
        yield clock_check(url, client.clock_offset(request))
    visible = [route for route in routes if _project(route) in projects]
    pipelines = [_pipeline(route, projects[_project(route)]) for route in visible]
    yield from pipelines
    for route, pipeline in zip(visible, pipelines, strict=True):
        if pipeline.status is Status.OK:
            yield _queue(client, route)
        else:
            yield CheckResult(QUEUE, Status.SKIPPED, f"{route.name}: needs its pipeline")
    if number := len(routes) - len(visible):
        what = f"{counted(2 * number, 'check')} of {counted(number, 'route')}"
        yield CheckResult(PIPELINE, Status.SKIPPED, f"{what}: need the pipelines of their project")
    yield CheckResult(PERMISSION, Status.SKIPPED, _QUEUE_BUILDS)


def _pipeline(route: Route, pipelines: _Pipelines) -> CheckResult:
    """Check that the route's pipeline is among those of its project."""
    try:
        wanted = route.pipeline
        pipeline_id = wanted if isinstance(wanted, int) else choose_pipeline(_bare_request(route), wanted, pipelines)
    except RequestRefused as exc:
        return failed(PIPELINE, exc, _CHECK_THE_ROUTE, f"{route.name}: ")
    for path, number in pipelines.items():
        if number == pipeline_id:
            return CheckResult(PIPELINE, Status.OK, f"{route.name}: {path} ({number})")
    what = f"{route.name}: {_project(route)} has no pipeline {pipeline_id}, or the app may not see it"
    return CheckResult(PIPELINE, Status.FAILED, what, _CORRECT_PIPELINE)


def _queue(client: PipelinesClient, route: Route) -> CheckResult:
    """Check that the route's run would be accepted; without a sample event, only that a preview is allowed."""
    made = matching_event(route)
    try:
        client.preview(_bare_request(route) if isinstance(made, NoEvent) else made.match.request, _deadline())
    except RequestRefused as exc:
        if not isinstance(made, NoEvent):
            return failed(QUEUE, exc, _CHECK_THE_ROUTE, f"{route.name}: ")
    except AzureDevOpsError as exc:
        return failed(QUEUE, exc, network_advice(route.organization_url), f"{route.name}: ")
    if isinstance(made, NoEvent):
        return CheckResult(QUEUE, Status.SKIPPED, f"{route.name}: {_NO_SAMPLE}", _PREVIEW_AN_EVENT)
    return CheckResult(QUEUE, Status.OK, f"{route.name}: a preview of its run is accepted")


def _deadline() -> datetime:
    return utc_now() + timedelta(seconds=REQUEST_SECONDS)


def _bare_request(route: Route) -> RunRequest:
    """Return a request for a run of the route's pipeline, without parameters."""
    return RunRequest(route.organization_url, route.project, route.pipeline, route.branch)


def _project(route: Route) -> str:
    return f"{route.organization_url}/{route.project}"
