"""Asks Azure DevOps for the state of a run. A page that is loaded again and again asks seldom, and never waits long."""

import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, NamedTuple

from shared.azure_devops.runs import RunRequest
from shared.clock import utc_now
from shared.errors import AzureDevOpsError, ConfigurationError
from shared.queueing.pipelines import Pipelines
from tools.console import masked
from tools.presentation import with_advice

ASK_SECONDS: Final = 3.0
_FRESH_SECONDS: Final = 10.0
_ABANDONED_SECONDS: Final = 60.0
_MAX_KEPT: Final = 200

_CAPITAL: Final = re.compile("[A-Z]")


class LiveRun(NamedTuple):
    """The state of a run in Azure DevOps.

    :param status: as Azure DevOps names it; empty if it is not known.
    :param result: the same; empty until the run is completed.
    :param why_unknown: why the state is not known, and what to do; empty if it is known.
    """

    status: str = ""
    result: str = ""
    why_unknown: str = ""

    @property
    def words(self) -> str:
        """The result in words, or the status if there is none yet: ``partially succeeded``, ``in progress``."""
        return _CAPITAL.sub(lambda found: f" {found[0].lower()}", self.result or self.status)


_NO_ANSWER: Final = LiveRun(
    why_unknown="Azure DevOps has not answered yet; load the page again, or follow the link to the run"
)


@dataclass
class _Question:
    asked_at: float
    is_answered: threading.Event = field(default_factory=threading.Event)
    answer: LiveRun = _NO_ANSWER


class LiveRuns:
    """The states of runs, each kept for some seconds. Safe for many threads."""

    def __init__(
        self,
        client: Callable[[], Pipelines],
        *,
        wait_seconds: float = ASK_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        :param client: makes the client at the first question, and again as long as it raises ConfigurationError.
        :param wait_seconds: for how long a caller waits for an answer. A later one may then find it.
        """
        self._make_client = client
        self._client: Pipelines | None = None
        self._wait_seconds = wait_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._questions: dict[tuple[str, str, int], _Question] = {}

    def state(self, request: RunRequest, run_id: int) -> LiveRun:
        """Return the state of a run in the project of a request. Raises nothing."""
        question = self._question(request, run_id)
        question.is_answered.wait(max(0.0, question.asked_at + self._wait_seconds - self._clock()))
        return question.answer

    def _question(self, request: RunRequest, run_id: int) -> _Question:
        """Return the last question about the run, or a new one if it is out of date."""
        key, now = (request.organization_url, request.project, run_id), self._clock()
        with self._lock:
            last = self._questions.get(key)
            if last is not None and now - last.asked_at < (
                _FRESH_SECONDS if last.is_answered.is_set() else _ABANDONED_SECONDS
            ):
                return last
            if len(self._questions) >= _MAX_KEPT:
                self._questions.pop(next(iter(self._questions)))
            self._questions.pop(key, None)  # the new one goes to the end
            question = self._questions[key] = _Question(now)
        # A credential may take longer than the deadline of the request, so nobody waits for the thread.
        threading.Thread(target=self._ask, args=(question, request, run_id), daemon=True).start()
        return question

    def _ask(self, question: _Question, request: RunRequest, run_id: int) -> None:
        try:
            question.answer = self._asked(request, run_id)
        finally:
            question.is_answered.set()

    def _asked(self, request: RunRequest, run_id: int) -> LiveRun:
        try:
            if self._client is None:
                self._client = self._make_client()
            build = self._client.build(request, run_id, utc_now() + timedelta(seconds=self._wait_seconds))
        except ConfigurationError as exc:
            first, *problems = masked(str(exc)).splitlines()
            return LiveRun(why_unknown="; ".join(map(str.strip, problems)) or first)
        except AzureDevOpsError as exc:
            return LiveRun(why_unknown=masked(with_advice(exc, request.organization_url)))
        if build is None:
            return LiveRun(
                why_unknown=f"project {request.project} has no run {run_id}: it was deleted, or its retention has ended"
            )
        return LiveRun(build.status or "of unknown status", build.result)
