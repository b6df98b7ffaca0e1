"""Delivers many events from some threads, and says how much memory the process has after so many.

python deliveries.py THREADS COUNT... : prints the RSS in bytes after each count, counted from the first delivery.
"""

import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from events import event_text  # type: ignore[import-not-found]  # beside this program

import function_app

functions = {function.get_function_name(): function for function in function_app.app.get_functions()}
deliver = functions["aml_event"].get_user_function()
failures: list[BaseException] = []


def resident_bytes() -> int:
    """What the process holds in memory now."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def work(numbers: Iterator[int]) -> None:
    """Deliver until there are no more numbers; iterating over a range is one step, and so safe for many threads."""
    try:
        for number in numbers:
            deliver(event=event_text(number))
    except BaseException as exc:
        failures.append(exc)
        raise


threads, *counts = map(int, sys.argv[1:])
found, done = [], 0
for count in counts:
    numbers = iter(range(done, count))
    workers = [threading.Thread(target=work, args=(numbers,)) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    found.append(resident_bytes())
    done = count
if failures:
    raise failures[0]
print(*found, flush=True)
