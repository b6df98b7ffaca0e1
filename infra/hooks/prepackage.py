"""Before ``azd package``: builds the folder dist/app, which azure.yaml names. docs/local.md describes it."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

try:
    from devstack.package import DEFAULT_VERSION, main
except ModuleNotFoundError as exc:
    sys.exit(f"prepackage: {exc.name} is not installed; delete infra/hooks/.venv, and run azd again, which makes it")

sys.exit(main(["--quiet", "--python-version", os.environ.get("NEXTSTAGE_PYTHON_VERSION") or DEFAULT_VERSION]))
