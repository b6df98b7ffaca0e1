"""Runs an operator's command for a hook, with the Python that runs the hook."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: str) -> None:
    """Run ``manage.py`` with these arguments, and end the process with its exit code."""
    sys.path.insert(0, str(ROOT))
    from manage import main  # noqa: PLC0415 - found by the path that was just added

    sys.argv[1:] = arguments
    sys.exit(main())
