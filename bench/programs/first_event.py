"""Deliver the first event of a new app process, as the worker does, and print the RSS in bytes."""

import os
import sys
from pathlib import Path

import function_app

functions = {function.get_function_name(): function for function in function_app.app.get_functions()}
functions["aml_event"].get_user_function()(event=Path(sys.argv[1]).read_text(encoding="utf-8"))
resident_pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
print(resident_pages * os.sysconf("SC_PAGE_SIZE"), flush=True)
