"""The operator's commands: ``python manage.py --help``."""

import sys

from tools.cli import main

if __name__ == "__main__":
    sys.exit(main())
