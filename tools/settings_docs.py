"""``python -m tools.settings_docs``: write docs/settings.md from the table of settings."""

from pathlib import Path
from typing import Final

from shared.settings import SETTINGS

PAGE: Final = Path(__file__).resolve().parents[1] / "docs" / "settings.md"

_HEAD: Final = """# Settings

<!-- Made from shared/settings/table.py by 'make docs'; change the table instead. -->

Application settings in Azure, `Values` in `local.settings.json`, or environment variables. An empty value counts as not
set. At its start the app reports all wrong settings at once, and never the value of a secret.
"""
_ROUTES: Final = "Routes may use any other environment value as `${NAME}`."


def settings_page() -> str:
    """Return the whole page, in Markdown."""
    rows = ["| setting | default | meaning |", "|---|---|---|"]
    for one in SETTINGS:
        default = f" `{one.default}`" if one.default else ""
        note = ". Treated as a secret" if one.is_secret else ". Set by Azure" if one.is_set_by_azure else ""
        rows.append(f"| `{one.name}` |{default} | {one.meaning}{note} |")
    return "\n".join([_HEAD, *rows, "", _ROUTES, ""])


if __name__ == "__main__":
    PAGE.write_text(settings_page(), encoding="utf-8")
