"""Finds names in the environment that are probably misspelled settings, which the app ignores."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from shared.settings.table import SETTINGS
from shared.suggestion import nearest

_SIMILARITY: Final = 0.92
"""Allows for one or two letters. The names of the Functions host, of Azure's libraries and of azd are less similar."""

_MAX_LETTERS: Final = 2
"""How many letters may be missing, or too many. Comparing fewer names takes less time."""


def misspelled(environment: Mapping[str, str], routes_file: Path) -> Iterator[str]:
    """Yield a message for each name that is almost that of a setting which is not set.

    :param routes_file: routes.yaml. A name that it uses is not a mistake.
    """
    known = {row.name for row in SETTINGS}
    unset = [row.name for row in SETTINGS if not (row.is_set_by_azure or environment.get(row.name))]
    routes = ""
    with suppress(OSError):
        routes = routes_file.read_text(encoding="utf-8", errors="replace")
    for name in sorted(environment.keys() - known):
        similar = [each for each in unset if abs(len(each) - len(name)) <= _MAX_LETTERS]
        near = nearest(name, similar, _SIMILARITY)
        if near is not None and environment[name] and f"${{{name}}}" not in routes:
            yield f"{name} is not a setting of nextstage, so it has no effect; did you mean '{near}'?"
