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
class QueueSettings:
    """What applies to all queue triggers, with the defaults of the real host.

    It does not read `newBatchSize`, since on the real host only the number of threads limits how many messages are in
    work.
    """

    batch_size: int = 16
    is_base64: bool = True  # messageEncoding
    max_dequeue_count: int = 5
    max_polling_seconds: float = 60.0  # maxPollingInterval
    visibility_seconds: float = 0.0  # visibilityTimeout: how long a message stays invisible after a failure


@dataclass(frozen=True)
class HostSettings:
    """The settings that the stand-in host reads from host.json."""

    function_timeout_seconds: float | None = DEFAULT_FUNCTION_TIMEOUT_SECONDS  # None: no limit
    route_prefix: str = "api"  # without slashes at the ends; "" serves HTTP functions at the root
    queues: QueueSettings = QueueSettings()
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
        queues=_queue_settings(_section(_section(content, "extensions"), "queues")),
        watch_files=tuple(watch_files),
    )


def _section(parent: dict[str, Any], key: str) -> dict[str, Any]:
    section = parent.get(key, {})
    if not isinstance(section, dict):
        raise InvalidSettingsFile(f"{FILE_NAME}: {key} must be an object")
    return section


def _timeout_seconds(text: object) -> float | None:
    """Return the limit in seconds, or None if there is none."""
    if text is None:
        return DEFAULT_FUNCTION_TIMEOUT_SECONDS
    if text == "-1":
        return None
    total_seconds = _seconds(text)
    if total_seconds is None:
        raise InvalidSettingsFile(f'{FILE_NAME}: functionTimeout must be "hh:mm:ss" or "-1", got {text!r}')
    if total_seconds == 0:
        raise InvalidSettingsFile(f"{FILE_NAME}: functionTimeout must be longer than 0 seconds")
    return total_seconds


def _seconds(text: object) -> float | None:
    """Convert a .NET TimeSpan (`[d.]hh:mm:ss`) to seconds. Return None if it is not one."""
    match = _TIMESPAN.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)


def _queue_settings(section: dict[str, Any]) -> QueueSettings:
    default = QueueSettings()
    encoding = section.get("messageEncoding", "base64")
    if encoding not in ("base64", "none"):
        raise InvalidSettingsFile(f'{FILE_NAME}: messageEncoding must be "base64" or "none", got {encoding!r}')

    def number(name: str, otherwise: int) -> int:
        value = section.get(name, otherwise)
        if type(value) is not int or value < 1:
            raise InvalidSettingsFile(f"{FILE_NAME}: {name} must be a whole number of at least 1, got {value!r}")
        return value

    def seconds(name: str, otherwise: float) -> float:
        value = _seconds(section[name]) if name in section else otherwise
        if value is None:
            raise InvalidSettingsFile(f'{FILE_NAME}: {name} must be "hh:mm:ss", got {section[name]!r}')
        return value

    return QueueSettings(
        batch_size=number("batchSize", default.batch_size),
        is_base64=encoding == "base64",
        max_dequeue_count=number("maxDequeueCount", default.max_dequeue_count),
        max_polling_seconds=seconds("maxPollingInterval", default.max_polling_seconds),
        visibility_seconds=seconds("visibilityTimeout", default.visibility_seconds),
    )
