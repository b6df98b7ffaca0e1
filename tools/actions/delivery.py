"""Sends events to a host or a topic, and waits for their outcomes."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import chain, repeat
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from shared.clock import Clock
from shared.errors import JournalUnavailable, UnreadableRecord
from shared.events.event import parse_event
from shared.journal.records import FINAL_STATES, Entry, JournalKey, Record, Selection, State
from shared.telemetry import Outcome
from tools.actions.records import MAX_SCANNED, SHOWN_KEY, about, parsed
from tools.actions.resume.gathered import GatheredEvents
from tools.actions.running_app import other_routes
from tools.actions.waiting_tasks import waiting_tasks
from tools.errors import CommandFailed
from tools.events.documents import Document, Schema, event_name, schema_of
from tools.events.topic import publish
from tools.events.webhook import CHECK_THE_APP, HINTS, HostUnreachable, Webhook
from tools.installation import Installation
from tools.presentation import network_advice, run_words

NOTHING: Final = "nothing"
"""Shown for a route without a record in the journal."""

SENT: Final = "sent"
_NO_CONNECTION: Final = "no connection"

UNKNOWN: Final = "unknown"
"""Shown for a route whose record in the journal cannot be read, and for an event that only the app's routes decide."""

PAUSES_SECONDS: Final = (0.2, 0.3, 0.5, 1.0, 2.0)
"""The pauses between two reads of the journal; the last one repeats."""

JUST_STARTED: Final = timedelta(seconds=4)
"""An app that has just started may not yet have written down which routes it runs."""

_SERVER_ERROR: Final = 500

_Found = Record | JournalUnavailable | None

Answer = tuple[str, str]
"""``sent``, or ``deferred`` if the function failed, and an explanation."""


@dataclass(frozen=True, slots=True)
class Row:
    """One outcome of an event.

    :param route: the route; empty if the outcome does not belong to one.
    :param outcome: an outcome; after a timeout, the record's state or ``nothing``; ``unknown`` if the record cannot be
        read.
    """

    route: str
    outcome: str
    words: str
    record: Record | None = None

    def document(self) -> dict[str, Any]:
        """Return the row as a JSON document."""
        record = self.record
        return {
            "route": self.route or None,
            "outcome": self.outcome,
            "reason": self.words,
            "key": None if record is None else record.key.key,
            "run_id": None if record is None else record.run_id,
            "run_url": None if record is None else record.run_url or None,
        }


def next_step(row: Row) -> str:
    """Return what to do about an event that has no run; empty if the reason says so, or if it has one."""
    record = row.record
    if record is None or not record.key.is_about_event or record.state not in {State.PARKED, State.RELEASED}:
        return ""
    if record.state is State.RELEASED:
        request = parsed(record.entry.request)
        is_unreachable = _NO_CONNECTION in record.reason and isinstance(request, dict)
        return network_advice(str(request.get("organization_url", ""))) if is_unreachable else ""
    key = record.key.key[:SHOWN_KEY]
    return f"'./manage.py journal show {key}' shows all about it, and './manage.py redrive {key}' tries it again"


@dataclass(frozen=True)
class Target:
    """A target for events.

    :param name: the address, without secrets.
    :param send: sends an event, given the number of earlier deliveries. Raises CommandFailed if it was not accepted.
    :param is_topic: Event Grid delivers the event later, and replaces the source of an event in its own schema with the
        target's name. Otherwise, the app has handled each event that is sent.
    """

    name: str
    send: Callable[[Document, int], Answer]
    is_topic: bool = False


class Delivered(NamedTuple):
    """What became of an event.

    :param remark: says that the app runs another routes.yaml; empty if it does not.
    """

    rows: list[Row]
    remark: str = ""


def host_target(webhook: Webhook) -> Target:
    """Return a target for the host of a function app. If the function fails, the event must be delivered again."""

    def send(event: Document, deliveries: int) -> Answer:
        try:
            status, text = webhook.notify(event, deliveries)
        except HostUnreachable as exc:
            advice = "start the app ('make start'), or give another address with --url"
            raise CommandFailed(f"{exc}; {advice}", exit_code=1) from exc
        words = f"HTTP {status}" + (f": {text}" if text else "")
        if status in {200, 201, 202, 203, 204}:
            return SENT, f"HTTP {status}"
        if status >= _SERVER_ERROR:
            return Outcome.DEFERRED, words
        hint = HINTS.get(status, CHECK_THE_APP)
        raise CommandFailed(f"{webhook.url} did not accept {event_name(event)}: {words}; {hint}", exit_code=1)

    return Target(webhook.url, send)


def topic_target(name: str, key: str, make_identity: Callable[[], Any]) -> Target:
    """Return a target for a custom Event Grid topic. Event Grid repeats deliveries automatically."""

    def send(event: Document, deliveries: int) -> Answer:  # noqa: ARG001 - Event Grid counts deliveries itself
        publish(name, key, make_identity, event)
        return SENT, "published"

    return Target(name, send, is_topic=True)


def send_and_wait(
    installation: Installation, target: Target, event: Document, timeout: timedelta, clock: Clock
) -> Delivered:
    """Send an event and wait until the journal shows its outcome or the time is up.

    If the function fails, send the event again. A record that cannot be read has an outcome of its own. The app may run
    other routes: what they decided is in the journal under the event's ID.

    :raises CommandFailed: the target does not answer, or does not accept the event.
    :raises ConfigurationError: the routes or the settings are invalid; nothing was sent.
    :raises JournalUnavailable: the journal does not answer; nothing was sent.
    """
    verdict = installation.decide(json.dumps(event))
    keys = [decided.key for decided in verdict.decisions]
    look: Callable[[JournalKey], Record | None] = installation.find_record
    if target.is_topic and schema_of(event) is Schema.EVENT_GRID and verdict.entry.event_id:
        look = partial(_record_from_topic, installation, event, verdict.entry, target.name)
    else:
        keys += [record.key for record in waiting_tasks(installation, verdict.run_end)]
    before = [_found(look, key) for key in keys]
    for one in before:
        if isinstance(one, JournalUnavailable) and not isinstance(one, UnreadableRecord):
            raise one
    known = {record.key: record for record in _of_event(installation, verdict.entry)} if not keys else {}
    until, known_by = clock() + timeout, clock() + JUST_STARTED
    pauses = chain(PAUSES_SECONDS, repeat(PAUSES_SECONDS[-1]))
    deliveries, answer = 0, target.send(event, 0)
    while True:
        present = [_found(look, key) for key in keys]
        remark = other_routes(installation)
        others = _of_event(installation, verdict.entry, present) if remark or not keys else []
        left = (until - clock()) / timedelta(seconds=1)
        has_app_decided = answer[0] == SENT and not target.is_topic
        is_known = not remark or clock() >= known_by
        if left <= 0 or (is_known and _is_over(present, others, remark, has_app_decided=has_app_decided)):
            break
        time.sleep(min(next(pauses), left))
        if answer[0] != SENT:
            deliveries += 1
            answer = target.send(event, deliveries)
    found = list(zip(keys, before, present, strict=True))
    if None in present:
        others = others or _of_event(installation, verdict.entry, present)
        routes = {record.key.route for record in others}
        found = [one for one in found if one[2] is not None or one[0].route not in routes]
    found += [(record.key, known.get(record.key), record) for record in others]
    rows = [_row(installation, about(key), was, now, answer) for key, was, now in found]
    return Delivered(rows or [_without_record(verdict.why_nothing, answer, remark)], remark)


def _of_event(installation: Installation, entry: Entry, apart_from: Sequence[_Found] = ()) -> list[Record]:
    """Return the records of an event on all routes, also on those that this installation does not have."""
    if not entry.event_id or not installation.has_journal:
        return []
    known = {record.key for record in apart_from if isinstance(record, Record)}
    try:
        records = list(installation.journal.select(Selection(), MAX_SCANNED))
    except JournalUnavailable:
        return []
    of_event = (record for record in records if record.key.is_about_event and record.entry.event_id == entry.event_id)
    return [record for record in of_event if record.key not in known]


def _is_over(present: Sequence[_Found], others: Sequence[Record], remark: str, *, has_app_decided: bool) -> bool:
    """Return whether waiting is useless.

    :param remark: not empty if the app runs other routes, which may not choose what is expected here.
    :param has_app_decided: by whatever routes.
    """
    if remark and has_app_decided:
        present = [one for one in present if one is not None]
    elif remark and not (present or others):
        return False
    return all(map(_is_done, (*present, *others)))


def _without_record(why_nothing: str, answer: Answer, remark: str) -> Row:
    """Return the row of an event that has no record, because no route matches it."""
    if answer[0] != SENT:
        return Row("", *answer)
    if not remark:
        return Row("", Outcome.IGNORED, why_nothing)
    return Row("", UNKNOWN, f"no record was made: the app ignored it, or knew it; by the routes here: {why_nothing}")


def _record_from_topic(
    installation: Installation, event: Document, entry: Entry, endpoint: str, key: JournalKey
) -> Record | None:
    """Find the current record of an event that was published to a topic.

    Event Grid replaces the event's source with the topic, so the key is not known in advance. The record is the one
    with the event's id, or else the one of an earlier event from this topic with the same occurrence.

    :param key: the key computed from the original source. Only its route is used.
    """
    if not installation.has_journal:
        return None
    name = f"/topics/{urlsplit(endpoint).netloc.partition('.')[0]}".lower()
    for record in installation.journal.select(Selection(route=key.route), MAX_SCANNED):
        if record.entry.event_id == entry.event_id:
            return record
        if (record.entry.event_type, record.entry.subject) != (entry.event_type, entry.subject):
            continue
        source = parse_event(record.entry.event).source
        if source.lower().endswith(name):
            verdict = installation.decide(json.dumps({**event, "topic": source}))
            if record.key in {decided.key for decided in verdict.decisions}:
                return record
    return None


def _found(look: Callable[[JournalKey], Record | None], key: JournalKey) -> _Found:
    """Return the record, or why it cannot be read now."""
    try:
        return look(key)
    except JournalUnavailable as exc:
        return exc


def _is_done(found: _Found) -> bool:
    """Return whether waiting is useless: the record is final, or no delivery can read it."""
    if isinstance(found, JournalUnavailable):
        return isinstance(found, UnreadableRecord)
    return found is not None and found.state in FINAL_STATES


def _group_words(installation: Installation, record: Record) -> str:
    """Return until when an event is held, or the run that it was gathered into; empty for other records."""
    if record.state is not State.GATHERED:
        return ""
    try:
        return GatheredEvents(installation.journal).words(record)
    except JournalUnavailable:  # the outcome is known, and this only adds to it
        return ""


def _row(installation: Installation, route: str, before: _Found, record: _Found, answer: Answer) -> Row:
    """Return the row for the record; if its state is not final, with the answer to the last delivery."""
    if isinstance(record, JournalUnavailable):
        return Row(route, UNKNOWN, f"the event was sent, but {record}")
    if record is None:
        outcome = NOTHING
        words = (
            f"the journal {installation.journal_name} has no record of it; check that the app uses this journal and "
            "these routes"
        )
    elif _is_done(record):
        run = run_words(record.run_id, record.run_url)
        if before == record:
            return Row(route, Outcome.DUPLICATE, f"already {record.state}{run}", record)
        # The note of the claim names the parked event that had the key before.
        is_claimed_anew = isinstance(before, Record) and record.key.is_about_event
        claim = [step.note for step in record.history[:1]] if is_claimed_anew else []
        group = _group_words(installation, record)
        words = "; ".join(part for part in (run.removeprefix(": "), record.reason, group, *claim) if part)
        return Row(route, record.state, words, record)
    else:
        outcome = record.state
        words = f"still {record.state}" + (f": {record.reason}" if record.reason else "")
    if answer[0] != SENT:
        words += f"; the last answer was {answer[1]}"
    return Row(route, outcome, words, record)
