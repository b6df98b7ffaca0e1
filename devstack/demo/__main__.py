"""``python -m devstack.demo``: see program.py. Ctrl-C ends it without a traceback, also during the imports."""

import signal
import sys


def main() -> int:
    """Run the demo and return its exit code."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from devstack.demo import program  # noqa: PLC0415 - after the signal is set

    return program.main()


if __name__ == "__main__":
    sys.exit(main())
