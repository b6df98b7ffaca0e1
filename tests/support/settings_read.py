"""Which settings the code reads, found by letting it read."""

from shared.settings import load_settings
from tests.support import ROOT


class _Recorder(dict[str, str]):
    """An environment that notes which settings were asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: set[str] = set()

    def get(self, key: str, default: str | None = None) -> str | None:  # type: ignore[override]
        self.asked.add(key)
        return default


def settings_read() -> set[str]:
    """The names of all settings, without Azure's own marks."""
    environment = _Recorder()
    load_settings(environment, ROOT).pat()
    return {name for name in environment.asked if not name.startswith("WEBSITE_")}
