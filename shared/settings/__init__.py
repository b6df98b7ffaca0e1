"""The application settings: one row each in ``table.py``, from which reading, checks and docs/settings.md follow."""

from shared.settings.loader import load_settings
from shared.settings.table import SETTINGS, Settings

__all__ = ["SETTINGS", "Settings", "load_settings"]
