"""The values that a shell offers for an option. Nothing here fails: a shell cannot show errors during completion."""

import typer

from shared.routing import yaml_documents
from shared.routing.routes_file import ROUTE_NAME
from tools.events.samples import SAMPLE_NAMES


def event_types(incomplete: str) -> list[str]:
    """Return the event types that begin with the given text, in any case."""
    return [name for name in SAMPLE_NAMES if name.lower().startswith(incomplete.lower())]


def route_names(context: typer.Context) -> list[str]:
    """Return the names of the routes, even if routes.yaml has mistakes or environment values are missing."""
    try:
        document = yaml_documents.load(context.obj.settings.routes_file.read_text(encoding="utf-8"))
        names = [route.get("name") for route in document["routes"]]
    except Exception:  # noqa: BLE001 - see the module's docstring
        return []
    return [name for name in names if isinstance(name, str) and ROUTE_NAME.fullmatch(name)]
