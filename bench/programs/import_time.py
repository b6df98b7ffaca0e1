"""Says how many seconds the import of one module takes, by the clock and of CPU."""

import importlib
import sys
import time

started, cpu_started = time.perf_counter(), time.process_time()
importlib.import_module(sys.argv[1])
print(time.perf_counter() - started, time.process_time() - cpu_started, flush=True)
