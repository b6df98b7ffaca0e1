"""``manage.py explain``: what an event leads to on each route, and why. Reads the journal and changes nothing."""

import sys
from itertools import chain
from typing import Annotated, Final

import typer

from shared.suggestion import suggestion
from tools.actions import explanation_view as view
from tools.actions.explanation import Explainer
from tools.actions.running_app import other_routes
from tools.console import Console
from tools.errors import CommandFailed
from tools.events.dead_letters import STDIN, collect
from tools.events.sources import ConnectionOption, sources
from tools.files import show_unread
from tools.help_pages import epilog
from tools.options import JsonOption, LimitOption, RouteOption, RoutesFileOption, installation_of

DEFAULT_LIMIT: Final = 100

app = typer.Typer()

EPILOG: Final = epilog(
    {
        "explain event.json": "one event, or an array of them",
        "explain dead-letters/ --route deploy": "the events that Event Grid gave up, on one route",
        "explain --json < event.json": "as JSON, for a program",
    },
    "an event would be parked, a file could not be read, or the journal does not answer",
)

EventsArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="EVENT.json",
        help="A file with one event or an array of events, a dead-letter file, a folder of such files, or the URL of a "
        "blob container. `-` reads standard input, which is the default.",
    ),
]


@app.command("explain", epilog=EPILOG)
def explain_events(
    context: typer.Context,
    events: EventsArgument = None,
    *,
    routes: RoutesFileOption = None,
    route: RouteOption = None,
    limit: LimitOption = DEFAULT_LIMIT,
    connection_string_env: ConnectionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Explain what an event leads to, and why.

    For each event and route, the command shows:

    \b
    - whether the route matches
    - which part of a false condition is false, and the values that it used
    - the rendered parameters
    - the HTTP calls that would be sent, without the credential
    - the journal's key, and what the journal holds for it now
    - the resulting outcome of a delivery

    It also shows which tasks wait for the event's run, and would be completed.

    The decision is made by the app's own code, with the routes.yaml on this machine. Nothing is sent or changed. Azure
    DevOps is not contacted: if a route gives its pipeline by name, the id is shown as `{id of NAME}`. If the app runs
    another routes.yaml, or could not start with this one, the command says so.
    """
    installation, console = installation_of(context).with_routes(routes), Console()
    names = [each.name for each in installation.configuration.routes.routes]
    if route is not None and route not in names:
        raise CommandFailed(f"there is no route '{route}'; {suggestion(route, names)}")
    paths = events or [STDIN]
    if STDIN in paths and sys.stdin.isatty():
        raise CommandFailed("no event was given; name EVENT.json, or pass an event on standard input")
    found = (sources(installation, path, connection_string_env) for path in paths)
    collected = collect(chain.from_iterable(found), limit)
    explainer = Explainer(installation, route, installation.clock())
    explained = map(explainer.explain, collected.letters)
    if as_json:
        console.json([view.document(each, installation.authorization_scheme) for each in explained])
    else:
        for each in explained:
            view.show(console, each, installation.authorization_scheme, explainer.now)
    if problem := installation.resume_problem:
        console.note(problem)
    if routes is None and (remark := other_routes(installation)):
        console.note(remark)
    if not collected.letters:
        console.note("no events were found")
    is_whole = show_unread(collected, limit, console)
    if explainer.journal_problem:
        console.error(explainer.journal_problem)
    raise typer.Exit(1 if not is_whole or explainer.journal_problem or explainer.would_park else 0)
