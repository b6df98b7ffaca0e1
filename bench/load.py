"""Load from many threads: the number of calls and the latency of each."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Load:
    """The result of a load.

    :param latencies: seconds of each call, sorted.
    :param seconds: duration of the load.
    """

    latencies: tuple[float, ...]
    seconds: float

    @property
    def per_second(self) -> float:
        """Calls per second, up to the end of the last call."""
        return len(self.latencies) / self.seconds

    def percentile(self, percent: float) -> float:
        """Return the latency in seconds that this percentage of the calls did not exceed."""
        return self.latencies[min(len(self.latencies) - 1, int(len(self.latencies) * percent / 100))]


def load(call: Callable[[], object], threads: int, seconds: float) -> Load:
    """Call from several threads for some seconds. Each thread calls at least once, and again without a pause.

    :raises Exception: if a call raises it. The measurement is then invalid.
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
