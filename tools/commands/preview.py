"""``manage.py preview``: asks Azure DevOps if it would queue the runs that an event requests, and queues nothing."""

import sys
from collections.abc import Iterator
from typing import Annotated, Final

import typer

from tools.actions.preview import GOOD_PREVIEWS, Preview, Previewer
from tools.console import Console
from tools.errors import CommandFailed
from tools.events.dead_letters import read_events
from tools.help_pages import epilog
from tools.options import JsonOption, installation_of
from tools.presentation import counted, summary, with_advice

app = typer.Typer()

EPILOG: Final = epilog(
    {
        "preview event.json": "the runs of one event, with their YAML",
        "preview --all": "every route, before a deployment",
        "preview --all own.json": "the same, with own.json for the routes that it matches",
    },
    "a run would be refused or parked, could not be previewed, or has no sample event",
)

_OUTCOME_WIDTH: Final = 12

EventsArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="EVENT.json",
        help="Files with one event, an array of events, or dead letters. `-` reads standard input.",
    ),
]
AllOption = Annotated[bool, typer.Option("--all", help="Preview every route, each with an event that it matches.")]
YamlOption = Annotated[
    bool | None,
    typer.Option(
        "--yaml/--no-yaml",
        help="Show the YAML that would run. By default it is shown, except with --all.",
        show_default=False,
    ),
]


@app.command(epilog=EPILOG)
def preview(
    context: typer.Context,
    files: EventsArgument = None,
    *,
    every_route: AllOption = False,
    show_yaml: YamlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Preview runs in Azure DevOps; queue nothing.

    The routes.yaml on this machine decides which runs the events request. Each run is sent to the preview endpoint of
    Azure DevOps, with the app's credential. Azure DevOps checks pipeline, branch, parameters and variables as it does
    for a run, and returns the YAML that would run. The journal and cooldowns are ignored.

    With --all, each route is previewed with the first of the given events that it matches. If none matches, a sample
    event is made that fits the route's condition. Values marked `(sample)` come only from that sample: the pipeline
    may refuse the values of a real event. If no sample can be made because the condition is too complex, give an
    event for that route.
    """
    installation, console = installation_of(context), Console()
    if not files and not every_route:
        raise CommandFailed("nothing to preview was given; name EVENT.json, '-' for standard input, or --all")
    events = read_events(files or [], sys.stdin.buffer)
    previewer = Previewer(installation.pipelines())
    routes = installation.configuration.routes.routes
    if every_route:
        found = (previewer.route(installation, route, events) for route in routes)
    else:
        found = (one for event in events for one in previewer.event(installation, event))
    if as_json:
        previews = list(found)
        console.json([one.document() for one in previews])
    else:
        width = max((len(route.name) for route in routes), default=1)
        previews = _show(console, found, width, with_yaml=not every_route if show_yaml is None else show_yaml)
    for organization, error in previewer.errors.items():
        console.error(f"no preview from {organization}: {with_advice(error, organization)}")
    raise typer.Exit(0 if GOOD_PREVIEWS.issuperset(one.outcome for one in previews) else 1)


def _show(console: Console, previews: Iterator[Preview], width: int, *, with_yaml: bool) -> list[Preview]:
    """Show each preview when it is known, and return all of them.

    :param width: the length of the longest route name.
    """
    shown: list[Preview] = []
    for one in previews:
        console.row((one.route, one.outcome, one.words), [width, _OUTCOME_WIDTH])
        if with_yaml and one.final_yaml:
            for line in one.final_yaml.splitlines():
                console.line(f"  {line}")
        shown.append(one)
    words = summary(counted(len(shown), "preview"), (one.outcome for one in shown))
    console.line(f"{words}; nothing was queued")
    if any(one.sampled for one in shown):
        console.line("(sample): this value comes only from the sample event; a real event has a different one")
    return shown
