"""``python -m bench``: run every benchmark, which is a row of the table in docs/performance.md, and print the results.

The results are written to bench/results.json and to the table in docs/performance.md, but not with ``--quick``, and
with ``--only`` if ``--write`` is given, too. A full run takes at least a quarter of an hour on two cores. Run nothing
else on the machine at the same time.
"""

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from rich.console import Console

from bench import machine, report
from bench.comparison import Comparison
from bench.rows import (
    cold_start,
    cpu_time,
    journal_size,
    latency,
    memory,
    one_shot,
    outage,
    routing,
    throughput,
    transactions,
)
from bench.sizes import FULL, QUICK, Sizes

ROWS: Final[dict[str, Callable[[Sizes, Path], list[Comparison]]]] = {
    "1": cold_start.first_event,
    "2": cold_start.imports,
    "3": cpu_time.over_the_network,
    "4": cpu_time.in_memory,
    "5": throughput.throughput,
    "6": latency.latency,
    "7": one_shot.one_shot,
    "8": routing.routing,
    "9": journal_size.sqlite_journal,
    "9b": journal_size.tables_journal,
    "10": memory.memory,
    "11": transactions.transactions,
    "12": outage.outage,
    "13": outage.recovery,
}


def main() -> int:
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # raises, so `with` blocks stop the servers
    console = Console(width=None if sys.stdout.isatty() else 180)
    load_before = machine.load_average()
    if machine.is_busy(load_before):
        console.print(
            f"the machine is busy (load {load_before}): rows 1, 3, 5 and 6 will be slower than on an idle machine"
        )
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        description = machine.describe(Path(folder))
        lines = measure(options.only or list(ROWS), QUICK if options.quick else FULL, Path(folder), console)
    description |= {
        "taken_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - started),
        "load_before": load_before,
    }
    document = report.to_document(description, lines)
    report.show(document, console)
    if options.write or not (options.quick or options.only):
        report.write(report.merged(document) if options.only else document)
    return 0


def measure(rows: list[str], sizes: Sizes, folder: Path, console: Console) -> list[Comparison]:
    """Run the benchmarks one after the other, each in its own folder, and return their results sorted by row."""
    lines: list[Comparison] = []
    for row in rows:
        started = time.monotonic()
        row_folder = folder / f"row-{row}"
        row_folder.mkdir()
        lines += ROWS[row](sizes, row_folder)
        console.print(f"row {row}: {time.monotonic() - started:.0f} s", style="dim")
    return sorted(lines, key=lambda line: report.in_order(line.row))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Compare nextstage with simpler code that does the same."
    )
    parser.add_argument(
        "--quick", action="store_true", help="measure less, in about two minutes; the results are not written"
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=ROWS,
        help="measure only this row; may be given several times",
    )
    parser.add_argument("--write", action="store_true", help="with --only: replace these rows of the results")
    options = parser.parse_args()
    if options.write and (options.quick or not options.only):
        parser.error("--write needs --only, and no --quick: a full run writes all results")
    return options


if __name__ == "__main__":
    sys.exit(main())
