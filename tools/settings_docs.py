"""``python -m tools.settings_docs``: write docs/settings.md from the table of settings."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from shared.settings import SETTINGS
from shared.settings.setting import Setting

PAGE: Final = Path(__file__).resolve().parents[1] / "docs" / "settings.md"

_HEAD: Final = """# Settings

<!-- Made from shared/settings/table.py by 'make docs'; change the table instead. -->

Application settings in Azure, `Values` in `local.settings.json`, or environment variables. An empty value counts as not
set. At its start the app reports all wrong settings at once, and never the value of a secret.
"""
_ROUTES: Final = "Routes may use any other environment value as `${NAME}`."
_BY_AZURE: Final = """## Set by Azure

The app reads these too. Do not set them.
"""


def settings_page(settings: Sequence[Setting] = SETTINGS) -> str:
    """Return the whole page, in Markdown."""
    ours = [one for one in settings if not one.is_set_by_azure]
    azures = [one for one in settings if one.is_set_by_azure]
    return "\n".join([_HEAD, *_table(ours), "", _ROUTES, "", _BY_AZURE, *_table(azures), ""])


def _table(settings: Sequence[Setting]) -> Iterator[str]:
    yield from ("| setting | default | meaning |", "|---|---|---|")
    for one in settings:
        default = f" `{one.default}`" if one.default else ""
        secret = ". Treated as a secret" if one.is_secret else ""
        yield f"| `{one.name}` |{default} | {one.meaning}{secret} |"


if __name__ == "__main__":
    PAGE.write_text(settings_page(), encoding="utf-8")
