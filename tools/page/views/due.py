"""What is deferred, and when it is tried again. It can be tried at once, and messages set aside can be put back."""

import sys
from collections.abc import Sequence
from contextlib import closing
from itertools import islice
from typing import Final, NamedTuple

from flask import Blueprint, abort, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from shared.errors import ResumeUnavailable
from shared.journal.records import JournalKey, Record, Selection
from tools.actions import records
from tools.actions.resume.deferred import NO_QUEUE, STATES, Deferred, in_order, let_go, queued_messages
from tools.actions.resume.poison import PoisonMessage, put_back
from tools.console import masked
from tools.errors import CommandFailed
from tools.installation import Installation
from tools.page.page import page
from tools.page.paging import SIZE, part
from tools.presentation import counted

MAX_READ: Final = 1000
"""How many deferred records, and how many messages, are read for one look at the page."""

_HARMLESS: Final = (
    "The app tries a record as soon as it sees its message, and still observes a pause that Azure DevOps asks for. "
    "That does no harm: a record leads to at most one run, however often it is tried."
)
_GROUPS: Final = "A group of gathered events ends when its period ends, not earlier."
_NOT_DEFERRED: Final = "Nothing was done: nothing of this is deferred any longer, or can be tried now."

blueprint = Blueprint("due", __name__)


class Poison(NamedTuple):
    """The messages that the app could not handle.

    :param messages: those that the queue shows.
    :param number: about how many there are.
    """

    messages: Sequence[PoisonMessage] = ()
    number: int = 0


@blueprint.get("/due")
def show() -> str:
    """Show what is deferred; with ``route``, only on this route."""
    installation, unreadable = page().installation, records.Unreadable()
    route, now, notes = request.args.get("route") or None, installation.clock(), list[str]()
    waiting, poison = None, Poison()
    try:
        waiting = queued_messages(installation, limit=MAX_READ)
        poison = _poison(installation)
    except ResumeUnavailable as exc:
        notes.append(f"when deferred records come again is not known: {masked(str(exc))}")
    if not installation.settings.has_resume:
        notes.append(NO_QUEUE)
    found = _read(route, MAX_READ + 1, unreadable)
    if len(found) > MAX_READ:
        notes.append(f"only {MAX_READ} records were read, and there are more; 'manage.py resume' lists all of them")
    due = sorted(in_order(found[:MAX_READ], waiting, now), key=lambda one: not one.is_stuck)
    return render_template(
        "due.html",
        part=part(due, request.args.get("page")),
        stuck=sum(one.is_stuck for one in due),
        can_try=installation.settings.has_resume,
        is_ready=lambda one: _can_be_tried(one, installation),
        route=route,
        poison=poison,
        progress=page().source.progress,
        notes=[*notes, *unreadable.words(SIZE)],
    )


@blueprint.post("/due/try")
def try_now() -> str:
    """Ask whether one record or all of them are to be tried now, or let them be tried if that is confirmed."""
    installation, is_confirmed = page().installation, "confirm" in request.form
    fields = {name: request.form[name] for name in ("route", "key") if name in request.form}
    unreadable = records.Unreadable()
    key = JournalKey(fields.get("route", ""), fields["key"]) if "key" in fields else None
    waiting = queued_messages(installation, key=key)
    if waiting is None:
        raise CommandFailed(f"{NO_QUEUE}; redrive them one by one, on the page of each record")
    limit, now = records.MAX_SCANNED if is_confirmed else MAX_READ, installation.clock()
    if key is None:
        found = _read(fields.get("route"), limit + 1, unreadable)
    else:
        found = [] if (record := installation.journal.get(key)) is None else [record]
    due = in_order(found[:limit], waiting, now)
    ready = [one for one in due if _can_be_tried(one, installation)]
    if not ready:
        abort(409, _NOT_DEFERRED)
    what = counted(len(ready), "record") if len(found) <= limit else f"At least {len(ready)} records"
    if "route" in fields:
        what += f" of the route {fields['route']}"
    left = [_GROUPS] if len(ready) < len(due) else []
    if is_confirmed and (queue := installation.due_queue(to_write=True)) is not None:
        with closing(queue):
            let_go(queue, waiting, ready, now)
        return _result("Let go", [f"{what} can be tried now.", _HARMLESS, *left, *unreadable.words(SIZE)])
    return render_template(
        "confirm.html",
        title="Try now",
        lines=[f"{what} will be tried now.", *_about(ready), _HARMLESS, *left],
        action=url_for("due.try_now"),
        fields=fields,
        button="Try now",
        back=url_for("due.show"),
    )


@blueprint.post("/due/put-back")
def put_messages_back() -> str:
    """Ask whether the messages that were set aside are to be put back, or put them back if that is confirmed."""
    installation = page().installation
    poison = installation.poison_queue
    if poison is None:
        raise CommandFailed("no queue sets messages aside here: RESUME_STORAGE is not set, or is 'sqlite'")
    if "confirm" in request.form and (queue := installation.due_queue(to_write=True)) is not None:
        with closing(queue):
            done, malformed = put_back(poison, queue)
        wrong = [f"Not put back: {message.why_malformed}" for message in malformed]
        return _result("Put back", [f"{counted(len(done), 'message')} put back, to be handled now.", *wrong])
    return render_template(
        "confirm.html",
        title="Put messages back",
        lines=[
            f"About {counted(poison.count(), 'message')} will be put back and handled now.",
            "If the reason for the failures is still there, they are set aside again.",
            "A message that names no record stays where it is.",
        ],
        action=url_for("due.put_messages_back"),
        fields={},
        button="Put back",
        back=url_for("due.show"),
    )


@blueprint.get("/due/try")
@blueprint.get("/due/put-back")
def go_back() -> Response:
    """Lead to the list if the address of a confirmation is opened again."""
    return redirect(url_for("due.show"), 303)


def _read(route: str | None, limit: int, unreadable: records.Unreadable) -> list[Record]:
    """Return records that may be deferred.

    :raises JournalUnavailable: the journal does not answer.
    """
    # By state alone, because there is an index of it. Of a route's records, few are deferred.
    found = page().source.reader().journal.select(Selection(states=STATES), sys.maxsize, unreadable)
    return list(islice((record for record in found if route in {None, record.key.route}), limit))


def _result(title: str, lines: Sequence[str]) -> str:
    return render_template("result.html", title=title, lines=lines, back=url_for("due.show"), back_text="Due")


def _about(ready: Sequence[Deferred]) -> list[str]:
    """Return what is known of the record, if it is only one."""
    if len(ready) != 1:
        return []
    ((record, since),) = [(one.record, one.since) for one in ready]
    key = record.key.key[: records.SHOWN_KEY]
    return [
        f"{key} on the route {record.key.route}, {record.state} since {since:%Y-%m-%d %H:%M:%S} UTC: {ready[0].reason}"
    ]


def _can_be_tried(one: Deferred, installation: Installation) -> bool:
    """Return whether an operator can let it be tried: not a group of events before the end of its period."""
    return one.period is None or one.period.ends_at <= installation.clock()


def _poison(installation: Installation) -> Poison:
    """Return the messages that were set aside.

    :raises ResumeUnavailable: the queue does not answer.
    """
    queue = installation.poison_queue
    return Poison() if queue is None else Poison(messages := queue.peek(), max(queue.count(), len(messages)))
