"""`python -m devstack.host`: runs the function app in a directory until SIGTERM or SIGINT.

Exit codes: 0 stopped by a signal, 1 the app cannot be loaded or the port is in use, 2 local.settings.json, host.json or
the command line is invalid.
"""

import argparse
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from devstack.host import local_settings
from devstack.host.errors import AddressUnavailable, InvalidSettingsFile
from devstack.host.hearing import heard
from devstack.host.host import IN_WORK_SECONDS, Host
from devstack.host.host_json import read_host_settings
from devstack.host.index import load_app
from devstack.host.keys import Keys
from devstack.host.reloading import Reloader
from devstack.host.server import Served, serve
from devstack.host.worker import DEFAULT_THREAD_COUNT, THREAD_COUNT_SETTING

DEFAULT_PORT = 7071  # the same as Core Tools
LOOK_SECONDS = 1.0  # between two looks at the app's files

MakeReloader = Callable[[Served], Reloader]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    arguments = _parser().parse_args(argv)
    app_dir = arguments.app_dir.resolve()
    _log_to_stderr(verbose=arguments.verbose)
    environ = dict(os.environ)
    try:
        skipped = local_settings.apply(app_dir, os.environ)
        read_host_settings(app_dir)
    except InvalidSettingsFile as exc:
        print(f"devstack.host: {exc}", file=sys.stderr)
        return 2
    if skipped:
        print(
            f"devstack.host: already set in the environment, so ignored in {local_settings.FILE_NAME}: "
            + ", ".join(skipped),
            file=sys.stderr,
        )
    keys = Keys.new() if arguments.keys else None

    def load() -> Host:
        os.environ.setdefault(THREAD_COUNT_SETTING, str(DEFAULT_THREAD_COUNT))  # as the host does
        return Host(
            load_app(app_dir),
            settings=read_host_settings(app_dir),
            keys=keys,
            in_work_seconds=arguments.in_work_seconds,
        )

    host = _host(app_dir, load, verbose=arguments.verbose)
    if host is None:
        return 1
    make_reloader = partial(Reloader, app_dir, environ, load) if arguments.reload else None
    return _serve(host, arguments.port, arguments.drain_seconds, make_reloader)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m devstack.host", description="A stand-in for the Azure Functions host, on 127.0.0.1."
    )
    parser.add_argument(
        "--port", type=int, default=DEFAULT_PORT, help="the port; 0 for any free one (default: %(default)s)"
    )
    parser.add_argument(
        "--app-dir",
        type=Path,
        default=Path(),
        help="the directory that contains function_app.py (default: the current directory)",
    )
    parser.add_argument(
        "--drain-seconds",
        type=float,
        default=5.0,
        help="on shutdown, how long to wait for running functions (default: %(default)g)",
    )
    parser.add_argument(
        "--keys",
        action="store_true",
        help="make a system, a function, a host and a master key, print them, and ask for them as in Azure",
    )
    parser.add_argument(
        "--in-work-seconds",
        type=float,
        default=IN_WORK_SECONDS,
        help="how long a queue message in work is invisible to others (default: %(default)g, as in Azure)",
    )
    parser.add_argument(
        "--no-reload",
        dest="reload",
        action="store_false",
        help="keep the app as it is, also if its files change",
    )
    parser.add_argument("--verbose", action="store_true", help="show debug messages and tracebacks")
    return parser


def _log_to_stderr(*, verbose: bool) -> None:
    """Log messages from INFO without a prefix, as the worker passes them to the host. Drop what the host drops."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(heard)
    logging.basicConfig(handlers=[handler], level=logging.INFO, format="%(message)s")
    logging.getLogger("devstack.host").setLevel(logging.DEBUG if verbose else logging.INFO)


def _host(app_dir: Path, load: Callable[[], Host], *, verbose: bool) -> Host | None:
    """Import and index the app in its own directory, as the worker does.

    If that fails, print the reason and return None.
    """
    os.chdir(app_dir)
    try:
        return load()
    except Exception as exc:  # noqa: BLE001 - the app's own code may raise anything
        print(f"devstack.host: the function app cannot be loaded ({type(exc).__name__}):", file=sys.stderr)
        print(exc, file=sys.stderr)
        if verbose:
            traceback.print_exception(exc)
        return None


def _serve(host: Host, port: int, drain_seconds: float, make_reloader: MakeReloader | None) -> int:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        with serve(host, port, drain_seconds=drain_seconds) as served:
            reloader = None if make_reloader is None else make_reloader(served)
            for function in host.functions:
                print(host.describe(function, served.url))
            for name, key in host.keys._asdict().items() if host.keys else ():
                print(f"{name} key: {key}")
            print(f"devstack.host: {served.url}", flush=True)
            while not stop.wait(None if reloader is None else LOOK_SECONDS):
                if reloader is not None and (told := reloader.reload_if_changed()) is not None:
                    print(told, flush=True)
    except AddressUnavailable as exc:
        print(f"devstack.host: {exc}", file=sys.stderr)
        return 1
    if served.abandoned:
        # Do not let Python wait for their threads, which may never end.
        logging.shutdown()
        os._exit(0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
