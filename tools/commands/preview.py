"""``manage.py preview``: asks Azure DevOps whether it would queue what an event asks for, and queues nothing."""

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
        "preview --all own.json": "the same; own.json where it matches",
    },
    "Exit codes: 0 Azure DevOps would queue everything; 1 something would be refused or parked, could not be asked, or "
    "has no sample event; 2 nothing was asked: wrong usage, not found, or wrong configuration; 130 interrupted.",
)

_OUTCOME_WIDTH: Final = 12

EventsArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="EVENT.json", help="Files with an event, an array of events, or a dead-letter blob; `-` reads stdin."
    ),
]
AllOption = Annotated[bool, typer.Option("--all", help="Every route, each with an event that it matches.")]
YamlOption = Annotated[
    bool | None,
    typer.Option(
        "--yaml/--no-yaml", help="Show the YAML that would run; by default without --all.", show_default=False
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
    """Have Azure DevOps check runs; queue none.

    Each run that the events ask for, by routes.yaml as it is here and now, is sent to Azure DevOps' preview endpoint
    with the app's own credential. It checks pipeline, branch, parameters and variables as for a run, and answers with
    the YAML that would run. Neither the journal nor cooldowns are looked at.

    With --all every route is previewed: with the first of the given events that it matches, or else with a sample
    event that is made to fit its condition. Values marked `(sample)` come from that sample alone, so that a pipeline
    may refuse what you really send. A route whose condition is too involved has no sample: give an event for it.
    """
    installation, console = installation_of(context), Console()
    if not files and not every_route:
        raise CommandFailed("say what to preview: EVENT.json, '-' for the standard input, or --all")
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
    for organization, trouble in previewer.troubles.items():
        console.error(f"{organization} could not be asked: {with_advice(trouble)}")
    raise typer.Exit(0 if GOOD_PREVIEWS.issuperset(one.outcome for one in previews) else 1)


def _show(console: Console, previews: Iterator[Preview], width: int, *, with_yaml: bool) -> list[Preview]:
    """Show each as it becomes known; returns all of them.

    :param width: of the longest route's name.
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
        console.line("(sample): only the sample event gives this value; what Azure ML sends will be another")
    return shown
