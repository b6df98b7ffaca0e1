"""``python -m devstack.arm``: serves the stand-in for Azure Resource Manager on the loopback address.

It prints its URL in one line and runs until SIGTERM or SIGINT. Exit codes: 0 stopped by a signal, 2 the options are
invalid, or the port is in use.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import threading
from pathlib import Path

from devstack.arm import sample
from devstack.arm.emulator import TOKEN, Emulator
from devstack.http_server import serving


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m devstack.arm", description="A stand-in for Azure Resource Manager.", allow_abbrev=False
    )
    parser.add_argument("--port", type=int, default=7081, help="0 for any free port (default: %(default)s)")
    parser.add_argument(
        "--resources",
        type=Path,
        metavar="FILE",
        help="a JSON list of resources (default: an environment and a workspace)",
    )
    parser.add_argument("--verbose", action="store_true", help="log each request")
    options = parser.parse_args()
    if options.verbose:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    try:
        resources = json.loads(options.resources.read_text("utf-8")) if options.resources else sample.resources()
        emulator = Emulator(resources, tokens=[os.environ.get("DEVSTACK_TOKEN", TOKEN)])
        with serving(emulator, options.port, logger=logging.getLogger("devstack.arm")) as server:
            print(f"devstack.arm: {server.url}", flush=True)
            stop.wait()
    except (OSError, ValueError) as exc:
        print(f"devstack.arm: {exc}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
