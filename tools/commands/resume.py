"""``manage.py resume``: lists what is deferred, and lets it be tried at once."""

from datetime import datetime
from typing import Annotated, Final

import typer

from shared.durations import short_duration
from shared.journal.journal import Journal
from tools.actions import records
from tools.actions.orphans import note_orphans
from tools.actions.records import SHOWN_KEY
from tools.actions.resume.deferred import (
    NO_QUEUE,
    Deferred,
    Waiting,
    deferred,
    deferred_records,
    let_go,
    waiting_messages,
)
from tools.actions.resume.poison import PoisonMessage, put_back
from tools.console import Console
from tools.errors import CommandFailed
from tools.help_pages import epilog
from tools.installation import Installation
from tools.options import JsonOption, LimitOption, RouteOption, installation_of
from tools.presentation import counted
from tools.shell_completion import route_names

DEFAULT_LIMIT: Final = 50
_HEAD: Final = ("KEY", "ROUTE", "STATE", "AGE", "DUE", "REASON")
_POISON_HEAD: Final = ("KEY", "ROUTE", "AGE", "MESSAGE")
_REDRIVE: Final = "redrive them with 'manage.py redrive --all --state released --state uncertain --state claimed'"

app = typer.Typer()

EPILOG: Final = epilog(
    {
        "resume": "what is deferred, and when it comes again",
        "resume --now": "let all of it be tried at once",
        "resume 4f1c --now": "let one record be tried at once",
        "resume --poison": "the messages that the app could not handle",
        "resume --poison --now": "put these messages back",
    },
    "the list is incomplete, because a record of the journal cannot be read; or a message was not put back, because "
    "it names no record",
)

KeysArgument = Annotated[
    list[str] | None, typer.Argument(metavar="KEY", help="The keys of records, or at least their first 4 digits.")
]
NowOption = Annotated[
    bool,
    typer.Option("--now", help="Let the records be tried at once. With --poison, put the messages back."),
]
PoisonOption = Annotated[bool, typer.Option("--poison", help="List the messages that the app could not handle.")]


@app.command(epilog=EPILOG)
def resume(
    context: typer.Context,
    keys: KeysArgument = None,
    *,
    route: RouteOption = None,
    now: NowOption = False,
    poison: PoisonOption = False,
    limit: LimitOption = DEFAULT_LIMIT,
    as_json: JsonOption = False,
) -> None:
    """List the deferred events, or try them now.

    What comes next is listed first. The app tries it on its own; --now lets it be tried at once, for example after an
    outage. That does no harm: a record leads to at most one run, however often it is tried. The app still observes a
    pause that Azure DevOps asks for.

    `in` is the time of the message in the queue. Azure Queue Storage does not tell it; there, `within` is the latest
    time that follows from the record, unless Azure DevOps asked for a pause. `-` means that the time is not known, or
    that nothing tries the record again, because it was deferred while RESUME_STORAGE was not set. Then use --now.

    Waiting tasks and orphans, which the app tries again, too, are only counted: `waits` and `journal --orphans` list
    them.

    A group of gathered events is `waiting` until it is quiet. It is due when its period ends; --now does not end it
    earlier, but ends one whose message is lost.

    If the app fails on a message several times, the Functions host sets the message aside; --poison lists these. With
    a SQLite queue, DUE is `stuck`, and --now tries again. The record is still in the journal.
    """
    _check(keys or [], route, is_poison=poison)
    installation, console = installation_of(context), Console()
    if poison:
        raise typer.Exit(_poison(console, installation, limit, is_put_back=now, as_json=as_json))
    unreadable = records.Unreadable()
    found = _found(installation, keys or [], route, unreadable, is_now=now)
    if not found and route is not None:
        records.check_route(installation.journal, route, route_names(context), unreadable)
    _show(console, installation, found, limit, as_json=as_json)
    if not keys and route is None:
        _note_others(console, installation.journal, unreadable)
    raise typer.Exit(console.incomplete(unreadable.words(limit)))


def _check(keys: list[str], route: str | None, *, is_poison: bool) -> None:
    if is_poison and (keys or route is not None):
        raise CommandFailed("--poison can be combined only with --now, --limit and --json")
    if keys and route is not None:
        raise CommandFailed("resume needs KEY or --route, not both")


def _found(
    installation: Installation, keys: list[str], route: str | None, unreadable: records.Unreadable, *, is_now: bool
) -> list[Deferred]:
    """Return the records that the options select, and when each is tried again. Let them be tried now if wanted.

    :raises CommandFailed: a key belongs to a record that is not tried again, or there is no queue.
    """
    journal, now = installation.journal, installation.clock()
    queue = installation.due_queue(to_write=is_now)
    if is_now and queue is None:
        raise CommandFailed(f"{NO_QUEUE}; {_REDRIVE}")
    waiting = None if queue is None else waiting_messages(queue, is_complete=installation.lists_all_messages)
    if keys:
        found = _of_keys(journal, keys, waiting, now)
    else:
        found = deferred_records(journal, route, waiting, now, unreadable)
    if is_now and queue is not None and waiting is not None:
        return let_go(queue, waiting, found, now)
    return found


def _of_keys(journal: Journal, keys: list[str], waiting: Waiting | None, now: datetime) -> list[Deferred]:
    found = [(record, deferred(record, waiting, now)) for record in records.find(journal, keys)]
    problems = [
        f"the record {record.key.key[:SHOWN_KEY]} is {record.state} and not due; see 'manage.py journal show'"
        for record, one in found
        if one is None
    ]
    if problems:
        raise CommandFailed("\n".join(problems))
    return [one for _, one in found if one is not None]


def _show(console: Console, installation: Installation, found: list[Deferred], limit: int, *, as_json: bool) -> None:
    now = installation.clock()
    if as_json:
        console.json([one.document() for one in found[:limit]])
    elif found:
        console.table(_HEAD, [_row(one, now) for one in found[:limit]])
    else:
        console.line(f"nothing is deferred in {installation.searched_journal}")
    if len(found) > limit:
        console.note(f"showing {limit} of {len(found)} records; use --limit to show more")
    if found and not installation.settings.has_resume:
        console.note(NO_QUEUE)
    poison = installation.poison_queue
    if poison is not None and (number := poison.count()):
        console.note(f"{counted(number, 'message')} could not be handled; 'manage.py resume --poison' lists them")


def _note_others(console: Console, journal: Journal, unreadable: records.Unreadable) -> None:
    """Mention what the app tries again, too, but other commands list."""
    if number := len(records.waits(journal, unreadable, include_over=False)):
        console.note(f"{counted(number, 'task')} waiting for an Azure ML run; see 'manage.py waits'")
    note_orphans(console, journal, unreadable)


def _row(one: Deferred, now: datetime) -> tuple[str, ...]:
    return (
        "-" if one.period is not None else one.record.key.key[:SHOWN_KEY],
        one.record.key.route,
        one.record.state,
        short_duration(now - one.since),
        one.due(now),
        one.reason,
    )


def _poison(console: Console, installation: Installation, limit: int, *, is_put_back: bool, as_json: bool) -> int:
    """List the poison messages, or put them back; return the exit code."""
    poison, queue = installation.poison_queue, installation.due_queue(to_write=is_put_back)
    if poison is None or queue is None:
        raise CommandFailed(
            f"{NO_QUEUE}; set it as the app has it"
            if queue is None
            else "RESUME_STORAGE is 'sqlite', where no message is set aside; 'manage.py resume' shows it as stuck"
        )
    found, malformed = put_back(poison, queue) if is_put_back else (poison.peek(), [])
    total = len(found) if is_put_back else max(poison.count(), len(found))
    if as_json:
        console.json([message.document() for message in found[:limit]])
    elif found:
        now = installation.clock()
        console.table(_POISON_HEAD, [_poison_row(message, now) for message in found[:limit]])
    else:
        console.line("no message was put back" if is_put_back else "no message was set aside")
    if total > min(len(found), limit):
        console.note(f"showing {min(len(found), limit)} of {total} messages")
    return console.incomplete([f"not put back: {message.why_malformed}" for message in malformed])


def _poison_row(message: PoisonMessage, now: datetime) -> tuple[str, ...]:
    key = message.key
    return (
        "-" if key is None else key.key[:SHOWN_KEY],
        "-" if key is None else key.route,
        "-" if message.at is None else short_duration(now - message.at),
        message.text,
    )
