"""How much is measured: the whole, a look, or as little as a test needs."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Sizes:
    """
    :param repeats: how often each of two things is measured.
    :param loads: the same, where each measurement takes its time.
    :param block: events in one measurement of CPU time.
    :param seconds: how long one measurement of throughput or latency lasts.
    :param routes: how many routes are added, and again.
    :param sqlite_records, azurite_records: in the journal that is full.
    :param azurite_route_records: in a journal that is full of one route's.
    :param few_deliveries, many_deliveries: after which memory is compared.
    """

    repeats: int = 15
    loads: int = 7
    block: int = 200
    seconds: float = 3.0
    routes: tuple[int, int] = (1_000, 10_000)
    sqlite_records: int = 1_000_000
    azurite_records: int = 100_000
    azurite_route_records: int = 5_000
    few_deliveries: int = 1_000
    many_deliveries: int = 50_000


FULL: Final = Sizes()
QUICK: Final = Sizes(
    repeats=3,
    loads=2,
    block=50,
    seconds=0.7,
    routes=(100, 1_000),
    sqlite_records=20_000,
    azurite_records=1_000,
    azurite_route_records=500,
    few_deliveries=200,
    many_deliveries=1_000,
)
TINY: Final = Sizes(
    repeats=2,
    loads=2,
    block=2,
    seconds=0.1,
    routes=(20, 40),
    sqlite_records=200,
    azurite_records=200,
    azurite_route_records=50,
    few_deliveries=5,
    many_deliveries=10,
)
