"""Delivers many events from some threads, and says how much memory the process has after so many.

python deliveries.py THREADS COUNT... : prints the RSS in bytes after each count, counted from the first delivery.
"""

import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from events import event_text  # type: ignore[import-not-found]  # beside this program

import function_app

functions = {function.get_function_name(): function for function in function_app.app.get_functions()}
deliver = functions["aml_event"].get_user_function()


def resident_bytes() -> int:
    """What the process holds in memory now."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def work(numbers: Iterator[int]) -> None:
    """Deliver until there are no more numbers; iterating over a range is one step, and so safe for many threads."""
    for number in numbers:
        deliver(event=event_text(number))


threads, *counts = map(int, sys.argv[1:])
found, done = [], 0
for count in counts:
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, [iter(range(done, count))] * threads))
    found.append(resident_bytes())
    done = count
print(*found, flush=True)
