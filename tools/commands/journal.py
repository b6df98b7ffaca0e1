"""``manage.py journal``: shows what happened to each event on each route. Reads the journal and changes nothing."""

import json
from collections.abc import Collection
from datetime import datetime
from typing import Annotated, Any, Final

import typer

from shared.durations import short_duration
from shared.errors import ConfigurationError, ResumeUnavailable
from shared.journal.journal import Journal
from shared.journal.records import UNROUTED, Record, State
from shared.notifications.losses import journaled_losses
from shared.redrive import RedriveForecast, forecast_redrive
from tools.actions import records
from tools.actions.forecast import redrive_document, redrive_rows
from tools.actions.orphans import ListedOrphan, listed_orphans, note_orphans
from tools.actions.records import SHOWN_KEY, RecordFilter
from tools.actions.resume.deferred import STATES as DEFERRED_STATES
from tools.actions.resume.deferred import Deferred, Waiting, deferred, queued_messages
from tools.actions.resume.gathered import GatheredEvents
from tools.actions.running_app import deciding_routes
from tools.console import Console
from tools.errors import CommandFailed
from tools.help_pages import INCOMPLETE, epilog
from tools.installation import Installation
from tools.options import (
    JsonOption,
    LimitOption,
    NewerOption,
    OlderOption,
    RouteOption,
    StatesOption,
    WindowsOption,
    installation_of,
)
from tools.presentation import counted, run_words
from tools.shell_completion import route_names

DEFAULT_LIMIT: Final = 50
_MAX_GATHERED: Final = 50
"""How many events of a run are shown."""
_HEAD: Final = ("KEY", "ROUTE", "STATE", "AGE", "EVENT", "RUN", "REASON")
_ORPHAN_HEAD: Final = ("KEY", "ROUTE", "AGE", "RUN", "LINK", "REASON")
_STATES_OF_WAITS: Final = frozenset({State.WAITING, State.COMPLETED, State.CLOSED})

EPILOG: Final = epilog(
    {
        "journal --state parked": "what needs your attention",
        "journal --route R --newer-than 1d": "what one route did in the last day",
        "journal --orphans": "second runs of events that are not canceled yet",
        "journal show 4f1c": "everything about one record",
    },
    INCOMPLETE,
)

app = typer.Typer(name="journal")

OrphansOption = Annotated[
    bool, typer.Option("--orphans", help="List the second runs of events that are not canceled yet.")
]


@app.command("list", help="List records; the same as `journal` alone.", epilog=epilog({}, INCOMPLETE))
@app.callback(invoke_without_command=True, epilog=EPILOG)
def list_records(  # noqa: PLR0913 - every parameter is an option
    context: typer.Context,
    *,
    route: RouteOption = None,
    states: StatesOption = None,
    older_than: OlderOption = None,
    newer_than: NewerOption = None,
    limit: LimitOption = DEFAULT_LIMIT,
    windows: WindowsOption = False,
    orphans: OrphansOption = False,
    as_json: JsonOption = False,
) -> None:
    """List the journal's records, or show one.

    The latest change comes first. The command reads only the journal: it works even if routes.yaml is wrong, and needs
    no access to Azure DevOps. Events that could not be read, or lacked a value that every route needs, are under the
    route `$unrouted`.

    An orphan is a second run of an event, queued by a worker that had lost its claim. The app cancels it. As long as it
    has not, the list ends with a remark, and --orphans shows each orphan and why it is not canceled yet.
    """
    if context.invoked_subcommand is not None:
        return
    installation, console = installation_of(context), Console()
    wanted, now = RecordFilter(route, frozenset(states or ()), older_than, newer_than, windows), installation.clock()
    if orphans:
        if wanted != RecordFilter(route):
            raise CommandFailed("--orphans can be combined only with --route, --limit and --json")
        known = route_names(context)
        raise typer.Exit(_list_orphans(console, installation, route, known, limit, as_json=as_json))
    unreadable = records.Unreadable()
    found = records.newest(installation.journal, wanted, limit, now, unreadable)
    if not found.records and route is not None:
        records.check_route(installation.journal, route, route_names(context), unreadable)
    waiting = _waiting(console, installation, found.records)
    if as_json:
        console.json([_document(record, waiting, now) for record in found.records])
    elif found.records:
        gathered = GatheredEvents(installation.journal, unreadable)
        console.table(_HEAD, [_row(record, waiting, gathered, now) for record in found.records])
    else:
        is_any = wanted in (RecordFilter(), RecordFilter(windows=True))
        console.line(f"no {'' if is_any else 'matching '}records in {installation.searched_journal}")
    if not found.records and wanted.states & _STATES_OF_WAITS:
        console.note("waiting tasks are not in this list; 'manage.py waits --all' lists them")
    if found.count > len(found.records):
        console.note(f"showing {len(found.records)} of {found.count} records; use --limit to show more")
    _note_what_needs_attention(console, installation.journal, unreadable)
    raise typer.Exit(console.incomplete(unreadable.words(limit)))


@app.command("show", epilog=epilog({}))
def show(
    context: typer.Context,
    key: Annotated[str, typer.Argument(metavar="KEY", help="A record's key, or at least its first 4 digits.")],
    *,
    as_json: JsonOption = False,
) -> None:
    """Show everything about one record.

    The command shows the event, the request, every attempt with its time and answer, the run, the digest of the
    routes.yaml that decided, and what redriving the record would do now, if routes.yaml can be read. For a run for
    which several events were gathered, it also lists these events.
    """
    installation, console = installation_of(context), Console()
    (record,) = records.find(installation.journal, [key])
    expected, waiting = _forecast(installation, record), _waiting(console, installation, [record])
    if as_json:
        known = {"unknown": expected} if isinstance(expected, str) else redrive_document(expected)
        events = [each.key.key for each in GatheredEvents(installation.journal).of_run(record)]
        console.json({**_document(record, waiting, installation.clock()), "gathered_events": events, "redrive": known})
        return
    _show(console, installation, record, waiting)
    _show_forecast(console, installation, record, expected)


def _waiting(console: Console, installation: Installation, found: Collection[Record]) -> Waiting | None:
    """Return the messages of deferred records; None if there is no queue, or nothing is deferred."""
    if all(record.state not in DEFERRED_STATES for record in found):
        return None
    try:
        return queued_messages(installation)
    except ResumeUnavailable as exc:
        console.note(f"when deferred records come again is not known: {exc}")
        return None


def _document(record: Record, waiting: Waiting | None, now: datetime) -> dict[str, Any]:
    one = _deferred(record, waiting, now)
    at = None if one is None or one.at is None else one.at.isoformat()
    return {**records.document(record), "comes_again_at": at}


def _deferred(record: Record, waiting: Waiting | None, now: datetime) -> Deferred | None:
    return None if waiting is None else deferred(record, waiting, now)


def _note_what_needs_attention(console: Console, journal: Journal, unreadable: records.Unreadable) -> None:
    note_orphans(console, journal, unreadable)
    if losses := journaled_losses(journal, unreadable):
        lost = counted(sum(loss.count for loss in losses), "notification")
        console.note(f"{lost} lost; the last reason: {losses[0].reason}")


def _list_orphans(
    console: Console, installation: Installation, route: str | None, known: list[str], limit: int, *, as_json: bool
) -> int:
    """List the orphans, and return the exit code.

    :param known: the names of the routes in routes.yaml.
    """
    unreadable = records.Unreadable()
    found = listed_orphans(installation.journal, route, unreadable)
    if not found and route is not None:
        records.check_route(installation.journal, route, known, unreadable)
    if as_json:
        console.json([one.document() for one in found[:limit]])
    elif found:
        now = installation.clock()
        console.table(_ORPHAN_HEAD, [_orphan_row(one, now) for one in found[:limit]])
    else:
        console.line(f"no orphans in {installation.searched_journal}")
    if len(found) > limit:
        console.note(f"showing {limit} of {len(found)} orphans; use --limit to show more")
    return console.incomplete(unreadable.words(limit))


def _orphan_row(orphan: ListedOrphan, now: datetime) -> tuple[str, ...]:
    return (
        orphan.key.key[:SHOWN_KEY],
        orphan.key.route,
        short_duration(now - orphan.since),
        "-" if orphan.run is None else str(orphan.run.id),
        "-" if orphan.run is None else orphan.run.url,
        orphan.why_open,
    )


def _row(record: Record, waiting: Waiting | None, gathered: GatheredEvents, now: datetime) -> tuple[str, ...]:
    one = _deferred(record, waiting, now)
    words = (records.short_reason(record), gathered.words(record), "" if one is None else one.words())
    return (
        record.key.key[:SHOWN_KEY],
        record.key.route,
        record.state,
        short_duration(now - records.changed_at(record)),
        records.event_name(record),
        "-" if record.run_id is None else str(record.run_id),
        "; ".join(filter(None, words)),
    )


def _show(console: Console, installation: Installation, record: Record, waiting: Waiting | None) -> None:
    now = installation.clock()
    one, gathered = _deferred(record, waiting, now), GatheredEvents(installation.journal)
    age = short_duration(now - records.changed_at(record))
    lines = {
        "key": record.key.key,
        "route": record.key.route + (" (checked against no route)" if record.key.route == UNROUTED else ""),
        "state": f"{record.state}, for {age}{run_words(record.run_id, record.run_url)}",
        "reason": records.reason(record),
        "resume": "" if one is None else one.words(),
        "gather": gathered.words(record),
        "event": records.event_name(record),
        "subject": record.entry.subject,
        "routes": deciding_routes(installation, record),
    }
    for name, value in lines.items():
        if value:
            console.row((name, value), [8])
    documents = {
        "event:": records.parsed(record.entry.event),
        "request:": records.parsed(record.entry.request),
        "document:": records.kept_document(record),
    }
    for title, document in documents.items():
        if document != "":
            console.line()
            console.line(title)
            is_text = isinstance(document, str)
            console.text(document if is_text else json.dumps(document, indent=2, ensure_ascii=False))
    if events := gathered.of_run(record):
        console.line()
        console.line("gathered:")
        for each in events[:_MAX_GATHERED]:
            shown = each.gathered and each.gathered.events
            named = ", ".join(filter(None, (records.event_name(each), each.entry.subject)))
            console.row((f"  {shown}", each.key.key[:SHOWN_KEY], named), [6, SHOWN_KEY])
        if len(events) > _MAX_GATHERED:
            console.line(f"  and {len(events) - _MAX_GATHERED} more; --json shows the keys of all")
    console.line()
    console.line("history:")
    for step in record.history:
        console.row((f"  {step.at:%Y-%m-%d %H:%M:%S} UTC", step.state, step.note), [25, 10])


def _forecast(installation: Installation, record: Record) -> RedriveForecast | str:
    """Return what redriving the record would do; a string says why that is not known."""
    try:
        return forecast_redrive(record, installation.decide_again(record))
    except ConfigurationError as exc:
        return next(iter(str(exc).splitlines()))


def _show_forecast(
    console: Console, installation: Installation, record: Record, expected: RedriveForecast | str
) -> None:
    console.line()
    if isinstance(expected, str):
        console.line(f"redrive: not known: {expected}")
    elif not expected.decisions:
        console.line(f"redrive: nothing to do: {expected.why_nothing}")
    else:
        console.line("redrive:")
        for row in redrive_rows(installation, record, expected):
            console.row((f"  {row.route}", row.outcome, row.words), [len(row.route) + 2, len(row.outcome)])
