"""``python -m devstack.ado``: serves the emulated Azure DevOps organization on the loopback address.

It prints its URL in one line and runs until SIGTERM or SIGINT. Exit codes: 0 stopped by a signal, 2 the options or the
declaration are invalid, or the port is in use.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import threading
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from devstack.ado.books import FIRST_RUN_ID
from devstack.ado.declaration import DEFAULT_FILE, ROOT, DeclarationError, load_project
from devstack.ado.emulator import Emulator
from devstack.ado.runs.behavior import Behavior
from devstack.ado.runs.pipeline_files import FOLDER
from devstack.ado.server import serve
from devstack.ado.times import utc_now
from devstack.watched import Watched

if TYPE_CHECKING:
    from collections.abc import Iterator


def main() -> int:
    options = _options()
    if options.verbose:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    routes_file = options.app_dir / (os.environ.get("ROUTES_FILE") or "routes.yaml")

    def files() -> Iterator[Path]:
        yield from (options.pipelines, routes_file, *sorted((options.app_dir / FOLDER).glob("*.y*ml")))

    try:
        load = partial(load_project, options.pipelines, options.app_dir, routes_file)
        watched = Watched(load, files, logging.getLogger("devstack.ado"))
    except DeclarationError as exc:
        print(exc, file=sys.stderr)
        return 2
    declaration = watched()
    emulator = Emulator(
        declaration,
        pats=[declaration.pat.resolve(os.environ)],
        tokens=[declaration.token.resolve(os.environ)],
        identity_header=declaration.identity_header.resolve(os.environ),
        behavior=options.behavior,
        first_run_id=options.first_run_id or first_run_id(utc_now()),
        refresh=watched,
    )
    return _serve_until_stopped(emulator, options.port)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m devstack.ado", description="An Azure DevOps emulator.")
    parser.add_argument("--port", type=_port, default=7080, help="0 for any free port (default: %(default)s)")
    parser.add_argument(
        "--pipelines", type=Path, default=DEFAULT_FILE, metavar="FILE", help="the file that declares the project"
    )
    parser.add_argument(
        "--app-dir",
        type=Path,
        default=ROOT,
        metavar="FOLDER",
        help="the folder with routes.yaml and pipelines/, whose pipelines are added (default: this project's)",
    )
    parser.add_argument(
        "--behavior",
        type=_behavior,
        default=Behavior(),
        metavar="JSON",
        help="""switches that differ from the defaults, such as '{"idempotency": "honored"}'""",
    )
    parser.add_argument(
        "--first-run-id", type=_run_id, metavar="ID", help="by default, a number that is larger after each restart"
    )
    parser.add_argument("--verbose", action="store_true", help="log each request")
    return parser.parse_args()


def _run_id(text: str) -> int:
    run_id = int(text)
    if not 1 <= run_id < 2**62:
        raise argparse.ArgumentTypeError("must be at least 1 and less than 2^62")
    return run_id


def first_run_id(now: datetime) -> int:
    """Return a run ID that is larger than those of an earlier emulator, whose runs may still be in a journal.

    There are ten for each second, so that they have 32 bits until 2032, as in the service.
    """
    return max(FIRST_RUN_ID, int((now - datetime(2026, 1, 1, tzinfo=UTC)).total_seconds() * 10))


def _behavior(text: str) -> Behavior:
    try:
        return Behavior().changed(json.loads(text))
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port < 1 << 16:
        raise argparse.ArgumentTypeError("must be between 0 and 65535")
    return port


def _serve_until_stopped(emulator: Emulator, port: int) -> int:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    declaration = emulator.declaration
    try:
        with serve(emulator, port) as served:
            print(f"devstack.ado: {served.organization_url} (project {declaration.project})", flush=True)
            stop.wait()
    except OSError as exc:
        print(f"devstack.ado: cannot listen on port {port}: {os.strerror(exc.errno or 0)}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
