"""Deliver many events from several threads, and print the memory of the process at some points.

python deliveries.py THREADS COUNT... : print the RSS in bytes after each count of deliveries, in ascending order.
"""

import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from events import event_text  # type: ignore[import-not-found]  # in the folder of this program

import function_app

functions = {function.get_function_name(): function for function in function_app.app.get_functions()}
deliver = functions["aml_event"].get_user_function()


def resident_bytes() -> int:
    """Return the RSS of the process."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def work(numbers: Iterator[int]) -> None:
    """Deliver an event for each number. Threads may share the iterator, since ``next`` on a range is atomic."""
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
