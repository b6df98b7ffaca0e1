"""Calls something from many threads for a while, and says how often it was done and how long each call took."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Load:
    """:param latencies: in seconds, sorted."""

    latencies: tuple[float, ...]
    seconds: float

    @property
    def per_second(self) -> float:
        """Calls that ended, by the time until the last one did."""
        return len(self.latencies) / self.seconds

    def percentile(self, percent: float) -> float:
        """The latency, in seconds, that so many percent of the calls did not exceed."""
        return self.latencies[min(len(self.latencies) - 1, int(len(self.latencies) * percent / 100))]


def load(call: Callable[[], object], threads: int, seconds: float) -> Load:
    """Each thread calls again as soon as it can, and at least once.

    :raises Exception: whatever a call has raised; then the measurement means nothing.
    """
    latencies: list[float] = []
    errors: list[BaseException] = []
    ends_at = time.perf_counter() + seconds

    def work() -> None:
        try:
            while True:
                started = time.perf_counter()
                call()
                ended = time.perf_counter()
                latencies.append(ended - started)
                if ended >= ends_at or errors:
                    return
        except BaseException as exc:  # noqa: BLE001 - raised below, in the thread that measures
            errors.append(exc)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    began = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if errors:
        raise errors[0]
    return Load(tuple(sorted(latencies)), time.perf_counter() - began)
