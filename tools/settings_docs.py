"""``python -m tools.settings_docs``: writes docs/settings.md from the table of settings."""

from pathlib import Path
from typing import Final

from shared.settings import SETTINGS

PAGE: Final = Path(__file__).resolve().parents[1] / "docs" / "settings.md"

_HEAD: Final = """# Settings

<!-- Generated from shared/settings/table.py by 'make docs'. Change the table instead. -->

Settings are application settings in Azure, `Values` in `local.settings.json`, or environment variables. An empty value
counts as not set. When the app starts, it reports all wrong settings at once, but never the value of a secret. A name
that is almost that of a setting is probably misspelled: `./manage.py doctor` and `check` warn about it, and so does the
app's log with the first event.
"""
_ROUTES: Final = "In `routes.yaml`, `${NAME}` can refer to any other environment variable."


def settings_page() -> str:
    """Return the page, in Markdown."""
    rows = ["| setting | default | meaning |", "|---|---|---|"]
    for one in SETTINGS:
        default = f" `{one.default}`" if one.default else ""
        note = ". Treated as a secret" if one.is_secret else ". Set by Azure" if one.is_set_by_azure else ""
        rows.append(f"| `{one.name}` |{default} | {one.meaning}{note} |")
    return "\n".join([_HEAD, *rows, "", _ROUTES, ""])


if __name__ == "__main__":
    PAGE.write_text(settings_page(), encoding="utf-8")
