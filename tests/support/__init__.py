"""Builders, fakes and stand-ins that tests share. A test module never imports another test module."""

from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
"""The root folder of the project."""
