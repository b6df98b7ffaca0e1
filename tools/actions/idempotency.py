"""Finds out whether Azure DevOps uses the ID that the app sends with a run request. Queues runs, and cancels them.

The same request is sent twice, with one ID. What the answers mean is in docs/how-it-works.md, "An idempotency key".
"""

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import quote

from shared.azure_devops.client import PipelinesClient
from shared.azure_devops.runs import Run, RunRequest
from shared.clock import utc_now
from shared.errors import AnswerLost, AzureDevOpsError, RunExists
from shared.routing.table import Route
from shared.suggestion import suggestion
from tools.actions.check_results import CheckResult, Status, failed
from tools.errors import CommandFailed

IDEMPOTENCY: Final = "idempotency"
CLEANUP: Final = "cleanup"

_REQUEST_SECONDS: Final = 30
_MARGIN: Final = timedelta(minutes=1)
_CHOOSE: Final = "name a pipeline that the app's identity may queue, and whose parameters all have defaults"
_AGAIN: Final = "run the command again; if the result is the same, please report it as an issue"


def request_for(routes: Sequence[Route], pipeline: str, route_name: str | None) -> RunRequest:
    """Return the request: a run of the pipeline, on its default branch and without parameters.

    :param pipeline: its ID, its name, or ``\\folder\\name``.
    :param route_name: the route whose organization and project are used; None if all routes have the same.
    :raises CommandFailed: there is no such route, or the routes name several projects.
    """
    chosen = [route for route in routes if route_name in {None, route.name}]
    if route_name is not None and not chosen:
        names = [route.name for route in routes]
        raise CommandFailed(f"there is no route '{route_name}'; {suggestion(route_name, names)}")
    projects = sorted({(route.organization_url, route.project) for route in chosen})
    if len(projects) != 1:
        named = ", ".join("/".join(project) for project in projects) or "none"
        raise CommandFailed(f"the routes must name one project, and name {named}; choose a route with --route")
    ((organization_url, project),) = projects
    return RunRequest(organization_url, project, int(pipeline) if pipeline.isdecimal() else pipeline)


def examine_idempotency(client: PipelinesClient, request: RunRequest) -> list[CheckResult]:
    """Send the request twice with one ID, cancel the runs, and return the verdict and the result of canceling.

    :raises CommandFailed: interrupted; the message names the runs that may be left.
    """
    probe = _Probe(client, request)
    try:
        return [probe.verdict(), *probe.clean_up()]
    except KeyboardInterrupt as exc:
        left = probe.words_of_what_is_left() or "no run is left"
        raise CommandFailed(f"interrupted; {left}", exit_code=130) from exc


class _Probe:
    """Two requests with one ID, and the runs that they have queued.

    ``made`` are these runs; ``suspects`` are runs that may be; ``left`` maps runs to the reason why they are not
    canceled. ``_lost`` counts the requests whose run is not known.
    """

    def __init__(self, client: PipelinesClient, request: RunRequest) -> None:
        self._client = client
        self._request = request
        self._id = str(uuid.uuid4())
        self._since = utc_now()
        self._lost = 0
        self.made: dict[int, Run] = {}
        self.suspects: dict[int, Run] = {}
        self.canceled: set[int] = set()
        self.left: dict[int, str] = {}

    def verdict(self) -> CheckResult:
        """Send both requests, and return what they show."""
        first = self._send()
        if not isinstance(first, Run):
            if not isinstance(first, AnswerLost):
                return failed(IDEMPOTENCY, first, _CHOOSE, "nothing was queued: ")
            return self._unknown(f"the answer to the first request was lost: {first}")
        second = self._send()
        match second:
            case Run(id=run_id) if run_id == first.id:
                is_one, found = True, f"the second request named the same run, {first.id}"
            case Run(id=run_id):
                is_one, found = False, f"two runs were queued, {first.id} and {run_id}"
            case RunExists():
                is_one, found = True, f"the second request was refused ({second})"
            case _:
                return self._unknown(f"the second request failed: {second}")
        is_ours, shown = self._plan_of(first)
        found += f", and the plan ID of run {first.id} {shown}"
        if is_one and is_ours:
            found += ". A repeated request queues no second run"
            return CheckResult(IDEMPOTENCY, Status.OK, f"honored: {found}")
        if not is_one and is_ours is False:
            found += ". The app does not depend on it: it searches for a run before it sends a request again"
            return CheckResult(IDEMPOTENCY, Status.OK, f"ignored: {found}")
        return CheckResult(IDEMPOTENCY, Status.FAILED, f"neither honored nor ignored: {found}", _AGAIN)

    def clean_up(self) -> list[CheckResult]:
        """Cancel the runs that were queued, and return what may be left."""
        if self._lost:
            self._search()
        for run in self.made.values():
            try:
                self._client.cancel(self._request, run, _deadline())
                self.canceled.add(run.id)
            except AzureDevOpsError as exc:
                self.left[run.id] = str(exc)
        results = []
        if self.canceled:
            canceled = ", ".join(_named(self.made[run_id]) for run_id in sorted(self.canceled))
            results.append(CheckResult(CLEANUP, Status.OK, f"Azure DevOps cancels run {canceled}"))
        if left := self.words_of_what_is_left():
            results.append(CheckResult(CLEANUP, Status.FAILED, left, "look at them, and cancel them yourself"))
        return results

    def words_of_what_is_left(self) -> str:
        """Return which runs may be left, with their links; empty if none are."""
        parts = [
            f"run {_named(run)} was queued and is not canceled"
            + (f": {self.left[run.id]}" if run.id in self.left else "")
            for run in self.made.values()
            if run.id not in self.canceled
        ]
        parts += [f"run {_named(run)} may have been queued" for run in self.suspects.values()]
        if self._lost:
            parts.append(f"a run that is not listed yet may have been queued; see {self._runs_page()}")
        return "\n".join(parts)

    def _send(self) -> Run | AzureDevOpsError:
        self._lost += 1
        try:
            run = self._client.run(self._request, _deadline(), self._id)
        except AzureDevOpsError as exc:
            self._lost -= not isinstance(exc, AnswerLost) or isinstance(exc, RunExists)
            return exc
        self.made[run.id] = run
        self._lost -= 1
        return run

    def _plan_of(self, run: Run) -> tuple[bool | None, str]:
        """Return whether the run's plan has the ID that was sent (None: not known), and the same in words."""
        try:
            build = self._client.build(self._request, run.id, _deadline())
        except AzureDevOpsError as exc:
            return None, f"is not known: {exc}"
        if build is None or not build.plan_ids:
            return None, "is not shown"
        if self._id in build.plan_ids:
            return True, "is the one that was sent"
        return False, "is another one than was sent"

    def _search(self) -> None:
        """Find the runs whose answers were lost: those with the ID, and those that only may be."""
        since, until = self._since - _MARGIN, utc_now() + _MARGIN
        try:
            requester = self._client.requester(self._request, _deadline())
            pages = self._client.builds(self._request, since, until, _deadline())
            builds = [build for page in pages for build in page if build.run.id not in self.made]
        except AzureDevOpsError:
            return  # the link to all runs of the pipeline is shown anyway
        for build in builds:
            if self._id in build.plan_ids:
                self.made[build.run.id] = build.run
                self._lost -= 1
            elif build.reason in {None, "manual"} and (requester is None or requester in build.requesters):
                self.suspects[build.run.id] = build.run

    def _runs_page(self) -> str:
        page = f"{self._request.organization_url}/{quote(self._request.project, safe='')}/_build"
        try:
            return f"{page}?definitionId={self._client.pipeline_id(self._request, _deadline())}"
        except AzureDevOpsError:
            return page

    @staticmethod
    def _unknown(found: str) -> CheckResult:
        return CheckResult(IDEMPOTENCY, Status.FAILED, f"not known: {found}", _AGAIN)


def _named(run: Run) -> str:
    return f"{run.id} ({run.url})"


def _deadline() -> datetime:
    return utc_now() + timedelta(seconds=_REQUEST_SECONDS)
