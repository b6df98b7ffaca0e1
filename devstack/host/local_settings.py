"""local.settings.json: application settings for a run on one's own machine, read as Core Tools reads them."""

import json
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

from devstack.host.errors import InvalidSettingsFile

FILE_NAME = "local.settings.json"


def read_json_object(path: Path) -> dict[str, Any]:
    """The JSON object in `path`; a byte order mark, which Windows editors leave behind, is skipped.

    :raises InvalidSettingsFile: unreadable, not JSON, or not an object. The text quotes nothing of the file.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as exc:
        raise InvalidSettingsFile(
            f"{path.name} is not JSON: {exc.msg} at line {exc.lineno} column {exc.colno}"
        ) from exc
    except (OSError, UnicodeDecodeError) as exc:
        raise InvalidSettingsFile(f"{path.name} cannot be read: {type(exc).__name__}") from exc
    if not isinstance(content, dict):
        raise InvalidSettingsFile(f"{path.name} must hold a JSON object")
    return content


def read_values(app_dir: Path) -> dict[str, str]:
    """The `Values` of the app's local.settings.json; none if there is no such file.

    :raises InvalidSettingsFile: broken, encrypted, or of another shape than `{"Values": {"NAME": "text"}}`.
    """
    path = app_dir / FILE_NAME
    if not path.exists():
        return {}
    content = read_json_object(path)
    if content.get("IsEncrypted"):
        raise InvalidSettingsFile(
            f"{FILE_NAME} is encrypted (IsEncrypted is true): run `func settings decrypt`, or write it in the clear"
        )
    values = content.get("Values", {})
    if not isinstance(values, dict):
        raise InvalidSettingsFile(f'{FILE_NAME}: "Values" must be an object of names and texts')
    wrong = [name for name, value in values.items() if not isinstance(value, str)]
    if wrong:
        raise InvalidSettingsFile(f"{FILE_NAME}: these values must be strings (in quotes): {', '.join(wrong)}")
    return values


def apply(app_dir: Path, environ: MutableMapping[str, str]) -> list[str]:
    """Puts the `Values` into `environ`; what is set there already wins, as with Core Tools.

    :returns: the names that were skipped because they are set already.
    :raises InvalidSettingsFile: see :func:`read_values`; `environ` is then unchanged.
    """
    skipped = []
    for name, value in read_values(app_dir).items():
        if name in environ:
            skipped.append(name)
        else:
            environ[name] = value
    return skipped
