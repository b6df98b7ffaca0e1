"""A model of the limit that Azure DevOps sets on one identity.

Documented: an identity that uses more than 200 TSTU within any 5 minutes is delayed by up to 30 s per request, or
refused (429). Retry-After tells it how long to wait.
https://learn.microsoft.com/azure/devops/integrate/concepts/rate-limits (read in November 2026)

Assumed, because it is not documented: the TSTU of a queued run and of a refusal. The model refuses requests instead of
delaying them, since the app handles Retry-After in the same way in both cases.
"""

from collections import deque
from typing import Final

WINDOW_SECONDS: Final = 300
LIMIT_TSTU: Final = 200.0

# Tolerance for the rounding error of a sum of many small usages.
_ROUNDING: Final = 1e-9


class AzureDevOps:
    """The limit on one identity: TSTU used within a sliding window."""

    def __init__(self, run_tstu: float, refusal_tstu: float) -> None:
        """Start with no usage.

        :param run_tstu: usage of a request that queues a run.
        :param refusal_tstu: usage of a refused request, which is smaller but not zero.
        """
        self._run_tstu = run_tstu
        self._refusal_tstu = refusal_tstu
        self._used: deque[tuple[int, float]] = deque()
        self.usage = 0.0

    def may_queue(self, second: int) -> int:
        """Return how many runs may be queued now."""
        while self._used and self._used[0][0] <= second - WINDOW_SECONDS:
            self.usage -= self._used.popleft()[1]
        return max(0, int((LIMIT_TSTU - self.usage) / self._run_tstu + _ROUNDING))

    def serve(self, second: int, queued: int, refused: int) -> None:
        """Record the requests of this second."""
        if queued or refused:
            used = queued * self._run_tstu + refused * self._refusal_tstu
            self._used.append((second, used))
            self.usage += used

    def retry_after_seconds(self, second: int) -> int:
        """Return the seconds until a request would be accepted if no other request came first."""
        usage = self.usage
        for when, used in self._used:
            usage -= used
            if usage + self._run_tstu <= LIMIT_TSTU:
                return max(1, when + WINDOW_SECONDS - second)
        return 1
