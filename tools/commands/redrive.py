"""``manage.py redrive``: sends parked events again, and events that Event Grid gave up."""

import sys
from typing import Annotated, Final

import typer

from shared.journal.records import Skipped, State
from shared.redrive import REDRIVABLE_STATES, awaits_redrive
from tools.actions import records
from tools.actions.records import FoundRecords, RecordFilter
from tools.actions.redrive import Results, adopt_run, redeliver, redrive_records
from tools.console import Console
from tools.errors import CommandFailed
from tools.events.dead_letters import collect
from tools.events.sources import ConnectionOption, sources
from tools.files import show_unread
from tools.help_pages import epilog
from tools.installation import Installation
from tools.options import JsonOption, LimitOption, RouteOption, YesOption, installation_of
from tools.presentation import counted
from tools.shell_completion import route_names

DEFAULT_LIMIT: Final = 1000

_STATES: Final = tuple(state for state in State if state in REDRIVABLE_STATES)

app = typer.Typer()

EPILOG: Final = epilog(
    {
        "redrive 4f1c --dry-run": "what redriving this record would request",
        "redrive 4f1c --adopt 501": "record that run 501 is the run of this event",
        "redrive --all": "all parked records",
        "redrive --dead-letters DIR": "the events that Event Grid gave up",
    },
    "an event was parked or deferred, or has another run than the one to adopt, or a file or record could not be read",
)

KeysArgument = Annotated[
    list[str] | None, typer.Argument(metavar="KEY", help="The keys of records, or at least their first 4 digits.")
]
AllOption = Annotated[bool, typer.Option("--all", help="Redrive the records of all routes.")]
StatesOption = Annotated[
    list[State] | None,
    typer.Option(
        "--state",
        metavar="STATE",
        help="With --route or --all, redrive records in this state instead of parked ones. One of "
        f"{', '.join(_STATES)}; may be repeated.",
    ),
]
DeadLettersOption = Annotated[
    str | None,
    typer.Option(
        "--dead-letters", metavar="PATH", help="Redrive dead letters: a file, a folder, or the URL of a blob container."
    ),
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show what would be requested, and change nothing.")]
NoLookOption = Annotated[
    bool,
    typer.Option(
        "--without-looking",
        help="With KEY: if the record was parked in doubt, do not search Azure DevOps for a run that may exist. Use it "
        "only after you have checked that there is none.",
    ),
]
AdoptOption = Annotated[
    int | None,
    typer.Option(
        "--adopt",
        min=1,
        metavar="RUN_ID",
        help="With one KEY: record that this run of Azure DevOps was queued for the event, and send nothing.",
    ),
]


@app.command(epilog=EPILOG)
def redrive(  # noqa: PLR0913 - every parameter is an option
    context: typer.Context,
    keys: KeysArgument = None,
    *,
    route: RouteOption = None,
    everything: AllOption = False,
    states: StatesOption = None,
    dead_letters: DeadLettersOption = None,
    connection_string_env: ConnectionOption = None,
    dry_run: DryRunOption = False,
    without_looking: NoLookOption = False,
    adopt: AdoptOption = None,
    limit: LimitOption = DEFAULT_LIMIT,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Send parked or dead-lettered events again.

    What a record requests is decided again, by the routes.yaml on this machine. First correct the route, then redrive
    with --dry-run, then without it. A record leads to at most one run, however often it is redriven: if the answer to
    a request was lost, the command searches Azure DevOps for the run before it sends anything.

    Select records with KEY, --route or --all; the oldest is redriven first. Unless --state is given, --route and --all
    select parked records and records whose last redrive was interrupted.

    If the app cannot tell whether a run was queued for an event, it parks the event and names the candidates. Look at
    them. If one of them is the event's run, use `KEY --adopt RUN_ID`; if none is, use `KEY --without-looking`. `KEY`
    alone searches again. A run that is visibly not the event's is adopted only with --yes.

    Event Grid gives up an event after a day. If such an event has a record, redrive it with `--state released
    --state uncertain --state claimed`. Redrive dead letters, in either schema, with --dead-letters; a folder includes
    every `*.json` in its subfolders. A container is read with a signature in its URL, a connection string, or your own
    identity (`az login`).
    """
    if sum([bool(keys), route is not None, everything, dead_letters is not None]) != 1:
        raise CommandFailed("redrive needs exactly one of KEY…, --route ROUTE, --all and --dead-letters PATH")
    if states and not (route or everything):
        raise CommandFailed("--state needs --route or --all; a record selected by KEY is redriven in any state")
    if done := [state for state in states or [] if state not in REDRIVABLE_STATES]:
        raise CommandFailed(f"--state must be one of {', '.join(_STATES)}, got {done[0]}")
    _check_options_of_keys(keys or [], without_looking=without_looking, adopt=adopt)
    installation, console = installation_of(context), Console()
    results = Results(console, as_json=as_json)
    if adopt is not None:
        (record,) = records.find(installation.journal, keys or [])
        is_done = adopt_run(installation, record, adopt, results, is_dry=dry_run, is_sure=yes)
    elif dead_letters is not None:
        collected = collect(sources(installation, dead_letters, connection_string_env), limit)
        is_whole = show_unread(collected, limit, console)
        if not collected.letters:
            results.end("no dead letters were found")
            raise typer.Exit
        number = len(collected.letters)
        _ask(console, number, f"deliver {counted(number, 'event')}?", is_confirmed=yes or dry_run)
        is_done = redeliver(installation, collected.letters, results, is_dry=dry_run) and is_whole
    else:
        unreadable = records.Unreadable()
        chosen = _chosen(installation, keys or [], route, frozenset(states or ()), limit, unreadable)
        shown = len(chosen.records)
        if not shown:
            if route is not None:
                records.check_route(installation.journal, route, route_names(context), unreadable)
            results.end(f"nothing to redrive in {installation.searched_journal}")
            raise typer.Exit(console.incomplete(unreadable.words(limit)))
        if chosen.count > shown:
            console.note(f"the oldest {shown} of {chosen.count} records; use --limit for more, or run it again")
        question = f"redrive {counted(shown, 'record')} in the journal {installation.journal_name}?"
        _ask(console, shown, question, is_confirmed=yes or dry_run)
        look = not without_looking
        is_done = redrive_records(installation, chosen.records, results, is_dry=dry_run, look=look)
        is_done = not console.incomplete(unreadable.words(limit)) and is_done
    raise typer.Exit(0 if is_done else 1)


def _check_options_of_keys(keys: list[str], *, without_looking: bool, adopt: int | None) -> None:
    if without_looking and not keys:
        raise CommandFailed("--without-looking needs KEY; name each record that you have checked")
    if adopt is not None and (len(keys) != 1 or without_looking):
        raise CommandFailed("--adopt needs exactly one KEY, and excludes --without-looking")


def _chosen(
    installation: Installation,
    keys: list[str],
    route: str | None,
    states: frozenset[State],
    limit: int,
    skipped: Skipped,
) -> FoundRecords:
    journal, now = installation.journal, installation.clock()
    if keys:
        found = records.find(journal, keys)
        return FoundRecords(tuple(found[:limit]), len(found))
    if states:
        return records.oldest(journal, RecordFilter(route, states), limit, now, skipped)
    return records.oldest(journal, RecordFilter(route, REDRIVABLE_STATES), limit, now, skipped, awaits_redrive)


def _ask(console: Console, number: int, question: str, *, is_confirmed: bool) -> None:
    if number > 1 and not is_confirmed and sys.stdin.isatty() and not console.confirm(question):
        raise CommandFailed("not confirmed; nothing was sent", exit_code=1)
