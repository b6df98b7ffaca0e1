#!/usr/bin/env python3
"""Runs the operator's commands. ``python manage.py --help`` lists them."""

import sys

if __name__ == "__main__":
    try:
        from tools.cli import main
    except ModuleNotFoundError as exc:
        sys.stderr.write(f"manage.py: {exc.name} is not installed; run: pip install -r requirements/tools.txt\n")
        sys.exit(2)
    sys.exit(main())
