"""The operator's page on what the demo has left. It is a process of its own, as a person starts it."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from devstack.processes import NO_SETTINGS, STOP_SECONDS


def show_page(root: Path, settings: Mapping[str, str], *options: str) -> int:
    """Show the page in a browser until Ctrl-C, and return the exit code of the command.

    :param options: options of the command ``page``.
    """
    command = [sys.executable, str(root / "manage.py"), "page", "--port", "0", *options]
    environment = {**os.environ, **NO_SETTINGS, **settings}
    # In a session of its own, so that a terminal sends Ctrl-C only to the demo, which then ends the page.
    with subprocess.Popen(command, env=environment, start_new_session=True) as page:  # noqa: S603 - our own command
        try:
            return page.wait()
        except KeyboardInterrupt:
            page.terminate()
            return page.wait(STOP_SECONDS)
