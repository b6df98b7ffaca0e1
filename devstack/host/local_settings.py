"""local.settings.json: the application settings for running locally, read the same way as Core Tools does."""

import json
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

from devstack.host.errors import InvalidSettingsFile

FILE_NAME = "local.settings.json"


def read_json_object(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file. Skip a byte order mark, which some Windows editors add.

    :raises InvalidSettingsFile: the file cannot be read, is not JSON, or is not an object. The message contains
        no value from the file.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except RecursionError as exc:
        raise InvalidSettingsFile(f"{path.name} is nested too deeply") from exc
    except json.JSONDecodeError as exc:
        raise InvalidSettingsFile(
            f"{path.name} is not JSON: {exc.msg} at line {exc.lineno} column {exc.colno}"
        ) from exc
    except (OSError, UnicodeDecodeError) as exc:
        raise InvalidSettingsFile(f"{path.name} cannot be read: {type(exc).__name__}") from exc
    if not isinstance(content, dict):
        raise InvalidSettingsFile(f"{path.name} must contain a JSON object")
    return content


def read_values(app_dir: Path) -> dict[str, str]:
    """Return the `Values` of the app's local.settings.json; an empty dict if the file does not exist.

    :raises InvalidSettingsFile: the file is invalid, encrypted, or does not have the form
        `{"Values": {"NAME": "string"}}`.
    """
    path = app_dir / FILE_NAME
    if not path.exists():
        return {}
    content = read_json_object(path)
    if content.get("IsEncrypted"):
        raise InvalidSettingsFile(
            f"{FILE_NAME} is encrypted (IsEncrypted is true): run `func settings decrypt`, or replace it with an "
            "unencrypted file"
        )
    values = content.get("Values", {})
    if not isinstance(values, dict):
        raise InvalidSettingsFile(f'{FILE_NAME}: "Values" must be an object with string values')
    wrong = [name for name, value in values.items() if not isinstance(value, str)]
    if wrong:
        raise InvalidSettingsFile(f"{FILE_NAME}: these values must be strings (in quotes): {', '.join(wrong)}")
    return values


def apply(app_dir: Path, environ: MutableMapping[str, str]) -> list[str]:
    """Add the `Values` to `environ`. Like Core Tools, keep variables that are already set.

    :returns: the names that were skipped because they were already set.
    :raises InvalidSettingsFile: see :func:`read_values`. In that case `environ` is not changed.
    """
    skipped = []
    for name, value in read_values(app_dir).items():
        if name in environ:
            skipped.append(name)
        else:
            environ[name] = value
    return skipped
