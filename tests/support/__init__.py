"""What tests share: builders, fakes and stand-ins. No test module imports another one."""

from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
"""The project's folder."""
