"""A model of Azure DevOps' limit on one identity.

Known: who uses more than 200 TSTU within any 5 minutes is delayed, by up to 30 s a request, or refused (429), and told
in Retry-After how long to wait. https://learn.microsoft.com/azure/devops/integrate/concepts/rate-limits (read in
November 2026)

Assumed, because nobody says: the TSTU that it takes to queue a run, and to be refused. Delays are played as refusals:
the app treats Retry-After alike on either.
"""

from collections import deque
from typing import Final

WINDOW_SECONDS: Final = 300
LIMIT_TSTU: Final = 200.0

# Of sums of many small usages.
_ROUNDING: Final = 1e-9


class AzureDevOps:
    """The limit on one identity: the TSTU used within a sliding window."""

    def __init__(self, run_tstu: float, refusal_tstu: float) -> None:
        """:param refusal_tstu: a refused request is work too, if little."""
        self._run_tstu = run_tstu
        self._refusal_tstu = refusal_tstu
        self._used: deque[tuple[int, float]] = deque()
        self.usage = 0.0

    def may_queue(self, second: int) -> int:
        """How many runs may be queued now."""
        while self._used and self._used[0][0] <= second - WINDOW_SECONDS:
            self.usage -= self._used.popleft()[1]
        return max(0, int((LIMIT_TSTU - self.usage) / self._run_tstu + _ROUNDING))

    def serve(self, second: int, queued: int, refused: int) -> None:
        """Note what was asked in this second."""
        if queued or refused:
            used = queued * self._run_tstu + refused * self._refusal_tstu
            self._used.append((second, used))
            self.usage += used

    def retry_after_seconds(self, second: int) -> int:
        """How long until a request would be taken, if nobody asked meanwhile."""
        usage = self.usage
        for when, used in self._used:
            usage -= used
            if usage + self._run_tstu <= LIMIT_TSTU:
                return max(1, when + WINDOW_SECONDS - second)
        return 1
