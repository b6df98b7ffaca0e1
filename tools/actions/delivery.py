"""Sends events to a host or a topic, and waits for their outcomes."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import chain, repeat
from typing import Any, Final
from urllib.parse import urlsplit

from shared.clock import Clock
from shared.errors import JournalUnavailable, UnreadableRecord
from shared.events.event import parse_event
from shared.journal.records import FINAL_STATES, Entry, JournalKey, Record, Selection
from shared.telemetry import Outcome
from tools.actions.records import MAX_SCANNED
from tools.errors import CommandFailed
from tools.events.documents import Document, Schema, event_name, schema_of
from tools.events.topic import publish
from tools.events.webhook import CHECK_THE_APP, HINTS, HostUnreachable, Webhook
from tools.installation import Installation
from tools.presentation import run_words

NOTHING: Final = "nothing"
"""Shown for a route without a record in the journal."""

SENT: Final = "sent"

UNKNOWN: Final = "unknown"
"""Shown for a route whose record in the journal cannot be read."""

PAUSES_SECONDS: Final = (0.2, 0.3, 0.5, 1.0, 2.0)
"""The pauses between two reads of the journal; the last one repeats."""

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


@dataclass(frozen=True)
class Target:
    """A target for events.

    :param name: the address, without secrets.
    :param send: sends an event, given the number of earlier deliveries. Raises CommandFailed if it was not accepted.
    :param replaces_source: whether the source of an event in Event Grid's schema is replaced with the target's name.
    """

    name: str
    send: Callable[[Document, int], Answer]
    replaces_source: bool = False


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

    return Target(name, send, replaces_source=True)


def send_and_wait(
    installation: Installation, target: Target, event: Document, timeout: timedelta, clock: Clock
) -> list[Row]:
    """Send an event and wait until the journal shows its outcome or the time is up.

    If the function fails, send the event again. A record that cannot be read has an outcome of its own.

    :raises CommandFailed: the target does not answer, or does not accept the event.
    :raises ConfigurationError: the routes or the settings are invalid; nothing was sent.
    :raises JournalUnavailable: the journal does not answer; nothing was sent.
    """
    verdict = installation.decide(json.dumps(event))
    keys = [decided.key for decided in verdict.decisions]
    look: Callable[[JournalKey], Record | None] = installation.find_record
    if target.replaces_source and schema_of(event) is Schema.EVENT_GRID and verdict.entry.event_id:
        look = partial(_record_from_topic, installation, event, verdict.entry, target.name)
    before = [_found(look, key) for key in keys]
    for one in before:
        if isinstance(one, JournalUnavailable) and not isinstance(one, UnreadableRecord):
            raise one
    until = clock() + timeout
    pauses = chain(PAUSES_SECONDS, repeat(PAUSES_SECONDS[-1]))
    deliveries, answer = 0, target.send(event, 0)
    while True:
        present = [_found(look, key) for key in keys]
        left = (until - clock()) / timedelta(seconds=1)
        if left <= 0 or all(map(_is_done, present)):
            break
        time.sleep(min(next(pauses), left))
        if answer[0] != SENT:
            deliveries += 1
            answer = target.send(event, deliveries)
    if not keys:
        return [Row("", Outcome.IGNORED, verdict.why_nothing) if answer[0] == SENT else Row("", *answer)]
    found = zip(keys, before, present, strict=True)
    return [_row(installation, key.route, was, now, answer) for key, was, now in found]


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
        claim = [step.note for step in record.history[:1]] if isinstance(before, Record) else []
        words = "; ".join(part for part in (run.removeprefix(": "), record.reason, *claim) if part)
        return Row(route, record.state, words, record)
    else:
        outcome = record.state
        words = f"still {record.state}" + (f": {record.reason}" if record.reason else "")
    if answer[0] != SENT:
        words += f"; the last answer was {answer[1]}"
    return Row(route, outcome, words, record)
