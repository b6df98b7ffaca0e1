"""Calls something from many threads for a while, and says how often it was done and how long each call took."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
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
    failed = threading.Event()
    began = time.perf_counter()

    def work(_: int) -> list[float]:
        latencies = []
        try:
            while True:
                started = time.perf_counter()
                call()
                ended = time.perf_counter()
                latencies.append(ended - started)
                if ended - began >= seconds or failed.is_set():
                    return latencies
        except BaseException:
            failed.set()
            raise

    with ThreadPoolExecutor(threads) as pool:
        latencies = sorted(latency for each in pool.map(work, range(threads)) for latency in each)
    return Load(tuple(latencies), time.perf_counter() - began)
