"""``manage.py graph``: draws events, routes, pipelines, and the events that pipelines cause."""

import json
from enum import StrEnum
from typing import Annotated, Any, Final

import typer

from handlers import NAMES
from shared.durations import duration_text
from shared.errors import InvalidRoutes
from shared.routing.routes_file import read_routes
from tools.console import Console
from tools.files import emit, read_text, shown_path
from tools.help_pages import epilog
from tools.options import JsonOption, OutputOption, RoutesArgument, StrictOption, installation_of
from tools.presentation import finding_words
from tools.routes.chain.chain import Chain, chain_of, loop_warnings
from tools.routes.chain.mermaid import mermaid
from tools.routes.chain.svg import svg

TITLE: Final = "Which event queues which pipeline, and which events the pipelines cause"
app = typer.Typer()

EPILOG: Final = epilog(
    {
        "graph": "Mermaid text, for a Markdown page",
        "graph --format svg --output routes.svg": "a picture",
    },
    "with --strict, a loop without a cooldown",
)


class Format(StrEnum):
    """The format of the picture."""

    MERMAID = "mermaid"
    SVG = "svg"


FormatOption = Annotated[
    Format,
    typer.Option(
        "--format",
        metavar="FORMAT",
        help="mermaid: text that GitHub and Azure DevOps wikis render. svg: a picture for light and dark pages.",
    ),
]


@app.command(epilog=EPILOG)
def graph(
    context: typer.Context,
    routes: RoutesArgument = None,
    *,
    form: FormatOption = Format.MERMAID,
    output: OutputOption = None,
    strict: StrictOption = False,
    as_json: JsonOption = False,
) -> None:
    """Draw which event leads to which run.

    The picture shows the event types, the routes with their conditions, the pipelines, and the events that the
    pipelines cause. Routes declare these events under `causes`, a key that the app itself ignores. If the events may
    lead back to the same route, and no route in the loop has a cooldown, the loop is drawn in red and a warning is
    printed on standard error. Environment values need not be set.
    """
    installation, console = installation_of(context), Console()
    file = routes or installation.settings.routes_file
    reading = read_routes(read_text(file), names=NAMES, environment=installation.environment)
    if reading.problems:
        raise InvalidRoutes(shown_path(file), reading.problems)
    chain = chain_of(reading.table.routes)
    if as_json:
        drawn = json.dumps(_document(chain), indent=2) + "\n"
    else:
        drawn = svg(chain, TITLE) if form is Format.SVG else mermaid(chain)
    emit(console, drawn, output)
    for finding in loop_warnings(reading):
        console.note(
            f"{shown_path(file)}:{finding.line}:{finding.column}: {finding.severity}: {finding_words(finding)}"
        )
    raise typer.Exit(1 if strict and chain.loops else 0)


def _document(chain: Chain) -> dict[str, Any]:
    return {
        "events": list(chain.events),
        "routes": [
            {
                "name": route.name,
                "event": route.event,
                "enabled": route.enabled,
                "when": None if route.when is None else route.when.text,
                "cooldown": None if route.cooldown is None else duration_text(route.cooldown),
                "organization_url": route.organization_url,
                "project": route.project,
                "pipeline": route.pipeline,
                "causes": [{"event": cause.event, "with": dict(cause.names)} for cause in route.causes],
                "leads_to": list(chain.leads_to[route.name]),
            }
            for route in chain.routes
        ],
        "loops": [list(loop) for loop in chain.loops],
    }
