"""`python -m devstack.host`: runs the function app of a directory, until SIGTERM or SIGINT.

Exit codes: 0 stopped by a signal, 1 the app does not load or the port is taken, 2 local.settings.json or
host.json is broken (or the command line is).
"""

import argparse
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path

from devstack.host import local_settings
from devstack.host.errors import AddressUnavailable, InvalidSettingsFile
from devstack.host.host import Host
from devstack.host.host_json import HostSettings, read_host_settings
from devstack.host.index import load_app
from devstack.host.server import serve

DEFAULT_PORT = 7071  # Core Tools'


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    arguments = _parser().parse_args(argv)
    app_dir = arguments.app_dir.resolve()
    _log_to_stderr(verbose=arguments.verbose)
    try:
        skipped = local_settings.apply(app_dir, os.environ)
        settings = read_host_settings(app_dir)
    except InvalidSettingsFile as exc:
        print(f"devstack.host: {exc}", file=sys.stderr)
        return 2
    if skipped:
        print(
            f"devstack.host: set in the environment, so not taken from {local_settings.FILE_NAME}: "
            + ", ".join(skipped),
            file=sys.stderr,
        )
    host = _host(app_dir, settings, verbose=arguments.verbose)
    return 1 if host is None else _serve(host, arguments.port, arguments.drain_seconds)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m devstack.host", description="A stand-in for the Azure Functions host, on 127.0.0.1."
    )
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="0 for a free one (default: %(default)s)")
    parser.add_argument(
        "--app-dir", type=Path, default=Path(), help="where function_app.py is (default: the current directory)"
    )
    parser.add_argument(
        "--drain-seconds",
        type=float,
        default=5.0,
        help="how long running functions may take to finish at the end (default: %(default)g)",
    )
    parser.add_argument("--verbose", action="store_true", help="debug messages, and exceptions with tracebacks")
    return parser


def _log_to_stderr(*, verbose: bool) -> None:
    """Messages as they are, from INFO on, as the worker passes them to the host."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s")
    logging.getLogger("devstack.host").setLevel(logging.DEBUG if verbose else logging.INFO)


def _host(app_dir: Path, settings: HostSettings, *, verbose: bool) -> Host | None:
    """Imports and indexes the app, in its own directory as the worker does; None once the reason is told."""
    os.chdir(app_dir)
    try:
        return Host(load_app(app_dir), settings=settings)
    except Exception as exc:  # noqa: BLE001 - the app's own code: whatever it raises is for the reader
        print(f"devstack.host: the function app does not load ({type(exc).__name__}):", file=sys.stderr)
        print(exc, file=sys.stderr)
        if verbose:
            traceback.print_exception(exc)
        return None


def _serve(host: Host, port: int, drain_seconds: float) -> int:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        with serve(host, port, drain_seconds=drain_seconds) as served:
            for function in host.functions:
                print(host.describe(function, served.url))
            print(f"devstack.host: {served.url}", flush=True)
            stop.wait()
    except AddressUnavailable as exc:
        print(f"devstack.host: {exc}", file=sys.stderr)
        return 1
    if served.abandoned:
        # Python would wait for their threads, for ever perhaps.
        logging.shutdown()
        os._exit(0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
