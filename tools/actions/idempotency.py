"""Finds out whether Azure DevOps uses the ID that the app sends with a run request. Queues runs, and cancels them.

The same request is sent twice, with one ID. What the answers mean is in docs/how-it-works.md, "An idempotency key".
"""

import time
import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import quote

from shared.azure_devops.client import PipelinesClient
from shared.azure_devops.reconcile import Build
from shared.azure_devops.runs import Run, RunRequest
from shared.clock import utc_now
from shared.errors import AnswerLost, AzureDevOpsError, RunExists, Throttled
from shared.routing.table import Route
from shared.suggestion import suggestion
from tools.actions.check_results import CheckResult, Status, failed
from tools.errors import CommandFailed

IDEMPOTENCY: Final = "idempotency"
CLEANUP: Final = "cleanup"

_REQUEST_SECONDS: Final = 30
_MARGIN: Final = timedelta(minutes=1)
_CHOOSE: Final = "name a pipeline that the app's identity may queue, and whose parameters all have defaults"
_AGAIN: Final = "run the command again"
_REPORT: Final = f"{_AGAIN}; if the result is the same, please report it as an issue"
_WAIT: Final = "wait until the pause is over, and run the command again"
_LOOK: Final = "look at them, and cancel those that still run yourself"


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

    ``made`` are these runs; ``suspects`` are runs that may be; ``left`` maps runs to the reason why they may not be
    canceled. ``_lost`` counts the requests whose run is not known. ``_earlier`` are runs of before.
    """

    def __init__(self, client: PipelinesClient, request: RunRequest) -> None:
        self._client = client
        self._request = request
        self._id = str(uuid.uuid4())
        self._since = utc_now()
        self._lost = 0
        self._earlier: set[int] = set()
        self.made: dict[int, Run] = {}
        self.suspects: dict[int, Run] = {}
        self.canceled: set[int] = set()
        self.left: dict[int, str] = {}

    def verdict(self) -> CheckResult:
        """Send both requests, and return what they show."""
        self._earlier = {build.run.id for build in self._listed()}
        first = self._send()
        if not isinstance(first, Run):
            if not isinstance(first, AnswerLost):
                advice = _WAIT if isinstance(first, Throttled) else _CHOOSE
                return failed(IDEMPOTENCY, first, advice, "nothing was queued: ")
            return self._unknown(f"the answer to the first request was lost: {first}", first)
        second = self._send()
        match second:
            case Run(id=run_id) if run_id == first.id:
                is_one, found = True, f"the second request named the same run, {first.id}"
            case Run(id=run_id):
                is_one, found = False, f"two runs were queued, {first.id} and {run_id}"
            case RunExists():
                is_one, found = True, f"the second request was refused ({second})"
            case _:
                return self._unknown(f"the second request failed: {second}", second)
        is_ours, shown = self._plan_of(first)
        found += f", and the plan ID of run {first.id} {shown}"
        if is_one and is_ours:
            found += ". A repeated request queues no second run"
            return CheckResult(IDEMPOTENCY, Status.OK, f"honored: {found}")
        if not is_one and is_ours is False:
            found += ". The app does not depend on it: it searches for a run before it sends a request again"
            return CheckResult(IDEMPOTENCY, Status.OK, f"ignored: {found}")
        return CheckResult(IDEMPOTENCY, Status.FAILED, f"neither honored nor ignored: {found}", _REPORT)

    def clean_up(self) -> list[CheckResult]:
        """Cancel the runs that were queued, and return what may be left."""
        if self._lost:
            self._search()
        for run in self.made.values():
            try:
                self._cancel(run)
                self.canceled.add(run.id)
            except AzureDevOpsError as exc:
                if self._is_canceled(run):
                    self.canceled.add(run.id)
                else:
                    self.left[run.id] = str(exc)
        results = []
        if self.canceled:
            canceled = ", ".join(_named(self.made[run_id]) for run_id in sorted(self.canceled))
            results.append(CheckResult(CLEANUP, Status.OK, f"Azure DevOps cancels run {canceled}"))
        if left := self.words_of_what_is_left():
            results.append(CheckResult(CLEANUP, Status.FAILED, left, _LOOK))
        return results

    def words_of_what_is_left(self) -> str:
        """Return which runs may be left, with their links; empty if none are."""
        parts = [
            f"run {_named(run)} was queued and may not be canceled"
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
        try:
            requester = self._client.requester(self._request, _deadline())
        except AzureDevOpsError:
            return  # the link to all runs of the pipeline is shown anyway
        for build in self._listed():
            if build.run.id in self.made or build.run.id in self._earlier:
                continue
            if self._id in build.plan_ids:
                self.made[build.run.id] = build.run
                self._lost -= 1
            elif build.reason in {None, "manual"} and (requester is None or requester in build.requesters):
                self.suspects[build.run.id] = build.run

    def _listed(self) -> list[Build]:
        """Return the pipeline's recent runs, as far as they are listed."""
        since, until = self._since - _MARGIN, utc_now() + _MARGIN
        try:
            pages = self._client.builds(self._request, since, until, _deadline())
            return [build for page in pages for build in page]
        except AzureDevOpsError:
            return []

    def _cancel(self, run: Run) -> None:
        """Cancel a run, after a short pause if Azure DevOps has asked for one."""
        try:
            self._client.cancel(self._request, run, _deadline())
        except Throttled as exc:
            if exc.retry_after_seconds > _REQUEST_SECONDS:
                raise
            time.sleep(exc.retry_after_seconds)
            self._client.cancel(self._request, run, _deadline())

    def _is_canceled(self, run: Run) -> bool:
        """Return whether the request to cancel a run was carried out although its answer was lost."""
        try:
            build = self._client.build(self._request, run.id, _deadline())
        except AzureDevOpsError:
            return False
        return build is not None and build.is_canceled

    def _runs_page(self) -> str:
        page = f"{self._request.organization_url}/{quote(self._request.project, safe='')}/_build"
        try:
            return f"{page}?definitionId={self._client.pipeline_id(self._request, _deadline())}"
        except AzureDevOpsError:
            return page

    @staticmethod
    def _unknown(found: str, error: AzureDevOpsError) -> CheckResult:
        advice = _WAIT if isinstance(error, Throttled) else _AGAIN
        return CheckResult(IDEMPOTENCY, Status.FAILED, f"not known: {found}", advice)


def _named(run: Run) -> str:
    return f"{run.id} ({run.url})"


def _deadline() -> datetime:
    return utc_now() + timedelta(seconds=_REQUEST_SECONDS)
