"""local.settings.json: application settings for running locally, read the same way as Core Tools does."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tools.errors import CommandFailed

FILE_NAME: Final = "local.settings.json"


def with_local_settings(environment: Mapping[str, str], app_dir: Path) -> dict[str, str]:
    """Return the file's ``Values``, overridden by the environment.

    :raises CommandFailed: the file is invalid. The message contains no value from it.
    """
    path = app_dir / FILE_NAME
    if not path.exists():
        return dict(environment)
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except RecursionError as exc:
        raise CommandFailed(f"{path} is nested too deeply; see local.settings.sample.json") from exc
    except json.JSONDecodeError as exc:
        raise CommandFailed(f"{path} is not JSON: {exc.msg} at line {exc.lineno} column {exc.colno}; fix it") from exc
    except (OSError, UnicodeDecodeError) as exc:
        raise CommandFailed(f"{path} cannot be read ({type(exc).__name__}); make it readable, or remove it") from exc
    values = content.get("Values", {}) if isinstance(content, dict) else None
    if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
        raise CommandFailed(f'{path} must contain {{"Values": {{"NAME": "value"}}}}; see local.settings.sample.json')
    if content.get("IsEncrypted"):
        raise CommandFailed(f"{path} is encrypted; run 'func settings decrypt', or replace it with an unencrypted file")
    return {**values, **environment}
