"""The settings in host.json that the stand-in host reads."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devstack.host.errors import InvalidSettingsFile
from devstack.host.local_settings import read_json_object

FILE_NAME = "host.json"

# The host's default in every plan except Consumption, where it is 5 minutes.
DEFAULT_FUNCTION_TIMEOUT_SECONDS = 30 * 60.0

_TIMESPAN = re.compile(r"(?:(\d+)\.)?(\d{1,2}):([0-5]?\d):([0-5]?\d)")


@dataclass(frozen=True)
class HostSettings:
    """The settings that the stand-in host reads from host.json."""

    function_timeout_seconds: float | None = DEFAULT_FUNCTION_TIMEOUT_SECONDS  # None: no limit
    route_prefix: str = "api"  # without slashes at the ends; "" serves HTTP functions at the root
    watch_files: tuple[str, ...] = ()  # a change of one of these files reloads the app, like a change of its code


def read_host_settings(app_dir: Path) -> HostSettings:
    """Return the settings in the app's host.json, or the defaults if the file does not exist.

    :raises InvalidSettingsFile: the file or one of its settings is invalid.
    """
    path = app_dir / FILE_NAME
    if not path.exists():
        return HostSettings()
    content = read_json_object(path)
    prefix = _section(_section(content, "extensions"), "http").get("routePrefix", "api")
    if not isinstance(prefix, str):
        raise InvalidSettingsFile(f"{FILE_NAME}: extensions.http.routePrefix must be a string")
    watch_files = content.get("watchFiles", [])
    if not isinstance(watch_files, list) or not all(isinstance(name, str) for name in watch_files):
        raise InvalidSettingsFile(f"{FILE_NAME}: watchFiles must be a list of file names")
    return HostSettings(
        function_timeout_seconds=_timeout_seconds(content.get("functionTimeout")),
        route_prefix=prefix.strip("/"),
        watch_files=tuple(watch_files),
    )


def _section(parent: dict[str, Any], key: str) -> dict[str, Any]:
    section = parent.get(key, {})
    if not isinstance(section, dict):
        raise InvalidSettingsFile(f"{FILE_NAME}: {key} must be an object")
    return section


def _timeout_seconds(text: object) -> float | None:
    """Convert a .NET TimeSpan (`[d.]hh:mm:ss`) to seconds. `-1` means no limit."""
    if text is None:
        return DEFAULT_FUNCTION_TIMEOUT_SECONDS
    if text == "-1":
        return None
    match = _TIMESPAN.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise InvalidSettingsFile(f'{FILE_NAME}: functionTimeout must be "hh:mm:ss" or "-1", got {text!r}')
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    total_seconds = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    if total_seconds == 0:
        raise InvalidSettingsFile(f"{FILE_NAME}: functionTimeout must be longer than 0 seconds")
    return float(total_seconds)
