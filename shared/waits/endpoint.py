"""``POST /api/waits``: from what a task sends to what it is answered, in time."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as TookTooLong
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from shared.clock import Clock, utc_now
from shared.errors import CredentialUnavailable, InvalidWait, JournalUnavailable, WaitsForAnother
from shared.waits.plan_url import PlanUrls
from shared.waits.request import read_request
from shared.waits.waits import Waits

# The task listens for 20 s (azure-pipelines-tasks, HTTP tasks' first call).
ANSWER_SECONDS: Final = 3.0
_WORK_SECONDS: Final = 2.5
_NOT_KEPT: Final = "the wait was not kept; run the job again"


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer; the document becomes JSON."""

    status: int
    document: Mapping[str, object]


class Endpoint:
    """Safe for many threads. The work is done beside, so that a slow store or Azure DevOps holds up no answer."""

    def __init__(
        self,
        waits: Waits,
        plan_urls: PlanUrls,
        *,
        threads: int,
        answer_seconds: float = ANSWER_SECONDS,
        clock: Clock = utc_now,
    ) -> None:
        """:param threads: how many requests may be at work at once; as many as the host has worker threads."""
        self._waits = waits
        self._plan_urls = plan_urls
        self._clock = clock
        self._answer_seconds = answer_seconds
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="nextstage-wait")

    def answer(self, headers: Mapping[str, str], body: bytes) -> Answer:
        """Answer one request within ``ANSWER_SECONDS``."""
        try:
            request = read_request(headers, body, self._plan_urls)
            deadline = self._clock() + timedelta(seconds=_WORK_SECONDS)
            state = self._pool.submit(self._waits.register, request, deadline).result(self._answer_seconds).state
        except InvalidWait as exc:
            return Answer(400, {"error": f"the wait is refused: {exc}", "problems": exc.problems})
        except WaitsForAnother as exc:
            return Answer(409, {"error": str(exc)})
        except (JournalUnavailable, CredentialUnavailable) as exc:
            return Answer(503, {"error": f"{exc}; {_NOT_KEPT}"})
        except TookTooLong:
            return Answer(503, {"error": f"nextstage did not get it done in {self._answer_seconds:g} s; {_NOT_KEPT}"})
        return Answer(202, {"run_id": request.run_id, "task_id": request.task.task_instance_id, "state": state.value})
