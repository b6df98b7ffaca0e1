"""Print the seconds that the import of one module takes: elapsed time and CPU time."""

import importlib
import sys
import time

started, cpu_started = time.perf_counter(), time.process_time()
importlib.import_module(sys.argv[1])
print(time.perf_counter() - started, time.process_time() - cpu_started, flush=True)
