"""Run as ``python -m components.trigger_pipeline``."""

import os
import sys

from components.trigger_pipeline.program import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
