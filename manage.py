#!/usr/bin/env python3
"""The operator's commands: ``python manage.py --help``."""

import sys

if __name__ == "__main__":
    try:
        from tools.cli import main
    except ModuleNotFoundError as exc:
        sys.stderr.write(f"manage.py: {exc.name} is not installed; run: pip install -r requirements/tools.txt\n")
        sys.exit(2)
    sys.exit(main())
