#!/usr/bin/env python3
"""Runs the operator's commands: ``./manage.py --help`` lists them. Finds the virtual environment .venv.

Even Python 2 can run this file, to find the right Python or to say what is missing. So it has no newer syntax, and
imports nothing else at the top.
"""

import os
import sys

VENV = os.path.join(os.path.dirname(os.path.realpath(__file__)), ".venv")
PYTHON = os.path.join(VENV, "bin", "python")
OURS = {"handlers", "shared", "tools"}


def main():  # type: () -> int
    """Run a command and return its exit code."""
    use_venv()
    if not is_fit():
        return fail(
            "nextstage needs Python 3.11, 3.12 or 3.13, and this is " + ".".join(map(str, sys.version_info[:2]))
        )
    try:
        from tools.cli import main as run

        return run()
    except ModuleNotFoundError as exc:
        if exc.name is None or exc.name.partition(".")[0] in OURS:
            raise
        return fail(exc.name + " is not installed")


def use_venv():  # type: () -> None
    """Start again with the Python of .venv, unless this one is of an activated environment that has the packages."""
    is_activated = sys.prefix != getattr(sys, "base_prefix", sys.prefix)
    if not is_venv() and os.access(PYTHON, os.X_OK) and not (is_activated and is_fit() and has_packages()):
        os.execv(PYTHON, [PYTHON, os.path.realpath(__file__)] + sys.argv[1:])


def is_venv():  # type: () -> bool
    """Return whether this Python is the one of .venv."""
    return os.path.realpath(sys.prefix) == os.path.realpath(VENV) or sys.executable == PYTHON


def is_fit():  # type: () -> bool
    """Return whether nextstage runs on this version of Python."""
    return (3, 11) <= sys.version_info[:2] <= (3, 13)


def has_packages():  # type: () -> bool
    """Return whether the packages of the commands seem to be installed."""
    try:
        import typer  # noqa: F401
    except ImportError:
        return False
    return True


def fail(message):  # type: (str) -> int
    """Print what is wrong and what to do next, and return the exit code."""
    # Where make has installed everything before, it would do nothing.
    is_installed = os.path.exists(os.path.join(VENV, ".ready"))
    is_broken = is_installed or (os.path.lexists(PYTHON) and (not os.path.exists(PYTHON) or not is_fit()))
    repair = "rm -rf .venv && make setup" if is_broken else "make setup"
    sys.stderr.write("manage.py: " + message + "; run: " + repair + "\n")
    return 2


if __name__ == "__main__":
    sys.exit(main())
