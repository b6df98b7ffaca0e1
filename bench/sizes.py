"""How much is measured: everything, a quick look, or the minimum for a test."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes of the measurements.

    :param repeats: pairs of measurements in each comparison.
    :param loads: the same, for comparisons in which one measurement takes seconds.
    :param block: events in one measurement of CPU time.
    :param seconds: duration of one measurement of throughput or latency.
    :param burst: deliveries during an outage.
    :param routes: sizes of the two large route tables.
    :param sqlite_records, azurite_records: records in the large journals.
    :param azurite_route_records: records of the delivery's own route in a large journal.
    :param few_deliveries, many_deliveries: deliveries after which memory is compared.
    """

    repeats: int = 15
    loads: int = 7
    block: int = 200
    seconds: float = 3.0
    burst: int = 1_000
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
    burst=200,
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
    burst=40,
    routes=(20, 40),
    sqlite_records=200,
    azurite_records=200,
    azurite_route_records=50,
    few_deliveries=5,
    many_deliveries=10,
)
