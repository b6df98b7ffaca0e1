"""local.settings.json: application settings for one's own machine, read as Core Tools reads them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tools.errors import CommandFailed

FILE_NAME: Final = "local.settings.json"


def with_local_settings(environment: Mapping[str, str], app_dir: Path) -> dict[str, str]:
    """The environment, and below it the file's ``Values``; what is set in the environment wins.

    :raises CommandFailed: the file is broken; the message quotes nothing of it.
    """
    path = app_dir / FILE_NAME
    if not path.exists():
        return dict(environment)
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as exc:
        raise CommandFailed(f"{path} is not JSON: {exc.msg} at line {exc.lineno} column {exc.colno}; mend it") from exc
    except (OSError, UnicodeDecodeError) as exc:
        raise CommandFailed(f"{path} cannot be read ({type(exc).__name__}); make it readable, or remove it") from exc
    values = content.get("Values", {}) if isinstance(content, dict) else None
    if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
        raise CommandFailed(f'{path} must hold {{"Values": {{"NAME": "text", …}}}}; see local.settings.sample.json')
    if content.get("IsEncrypted"):
        raise CommandFailed(f"{path} is encrypted; run 'func settings decrypt', or write it in the clear")
    return {**values, **environment}
