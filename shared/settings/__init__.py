"""The application settings. Each is one row in ``table.py``; loading, checks and docs/settings.md derive from it."""

from shared.settings.loader import load_settings
from shared.settings.table import SETTINGS, Settings

__all__ = ["SETTINGS", "Settings", "load_settings"]
