"""What a shell may offer for an option's value. Never fails: a shell cannot show an error while it completes."""

from collections.abc import Iterator

import typer
import yaml

from shared.routing.routes_file import ROUTE_NAME
from tools.events.samples import SAMPLE_NAMES
from tools.installation import Installation


def event_types(incomplete: str) -> list[str]:
    """The types of event that the app handles, whatever their case."""
    return [name for name in SAMPLE_NAMES if name.lower().startswith(incomplete.lower())]


def route_names(context: typer.Context) -> list[str]:
    """The names of the routes, also where routes.yaml has mistakes or environment values are missing."""
    try:
        return list(_names(context.obj))
    except Exception:  # noqa: BLE001 - see the module
        return []


def _names(installation: object) -> Iterator[str]:
    if not isinstance(installation, Installation):
        return
    document = yaml.safe_load(installation.settings.routes_file.read_text(encoding="utf-8"))
    for route in document["routes"]:
        name = route.get("name")
        if isinstance(name, str) and ROUTE_NAME.fullmatch(name):
            yield name
