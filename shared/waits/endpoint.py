"""The endpoint ``POST /api/waits``: answers the request of a task within a few seconds."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as AnswerTimeout
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from shared.clock import Clock, utc_now
from shared.errors import (
    AlreadyWaiting,
    CredentialUnavailable,
    InvalidWait,
    JournalUnavailable,
    TooManyWaits,
    WaitNotVerified,
)
from shared.journal.records import Record
from shared.logs import NEXT_INVOCATION, Lines
from shared.waits.plan_url import PlanUrls
from shared.waits.request import WaitRequest, read_request
from shared.waits.waits import Waits

# The task waits 20 s for the answer. Source: azure-pipelines-tasks, first call of the HTTP tasks.
ANSWER_SECONDS: Final = 5.0
_WORK_SECONDS: Final = 4.5
_NOT_STORED: Final = "the wait was not stored; run the job again"


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer. The document is sent as JSON."""

    status: int
    document: Mapping[str, object]


class Endpoint:
    """The endpoint. A thread pool does the work, so a slow store or Azure DevOps delays no answer. Thread-safe."""

    def __init__(
        self,
        waits: Waits,
        plan_urls: PlanUrls,
        *,
        threads: int,
        answer_seconds: float = ANSWER_SECONDS,
        clock: Clock = utc_now,
    ) -> None:
        """:param threads: how many requests can be processed at once: the number of the host's worker threads."""
        self._waits = waits
        self._plan_urls = plan_urls
        self._clock = clock
        self._answer_seconds = answer_seconds
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="nextstage-wait")

    def answer(self, headers: Mapping[str, str], body: bytes) -> Answer:
        """Answer one request within ``ANSWER_SECONDS``."""
        lines = Lines(NEXT_INVOCATION)
        try:
            request = read_request(headers, body, self._plan_urls)
            deadline = self._clock() + timedelta(seconds=_WORK_SECONDS)
            state = self._pool.submit(self._register, request, deadline, lines).result(self._answer_seconds).state
        except InvalidWait as exc:
            return Answer(400, {"error": f"the wait is refused: {exc}", "problems": exc.problems})
        except AlreadyWaiting as exc:
            return Answer(409, {"error": str(exc)})
        except TooManyWaits as exc:
            return Answer(429, {"error": str(exc)})
        except (JournalUnavailable, CredentialUnavailable, WaitNotVerified) as exc:
            return Answer(503, {"error": f"{exc}; {_NOT_STORED}"})
        except AnswerTimeout:
            return Answer(
                503, {"error": f"nextstage could not finish within {self._answer_seconds:g} s; {_NOT_STORED}"}
            )
        finally:
            lines.log()
        return Answer(202, {"run_id": request.run_id, "task_id": request.task.task_instance_id, "state": state.value})

    def _register(self, request: WaitRequest, deadline: datetime, lines: Lines) -> Record:
        """Do the work on a thread of the pool. The invocation logs the lines that are kept."""
        with lines.keeping():
            return self._waits.register(request, deadline, self._after_answer)

    def _after_answer(self, work: Callable[[], object]) -> None:
        self._pool.submit(NEXT_INVOCATION.keeping()(work))
