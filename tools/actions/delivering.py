"""Delivers events to a host or a topic, and waits for their outcomes."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from shared.clock import Clock, utc_now
from shared.journal.records import Record
from shared.telemetry import Outcome
from tools.actions.waiting import Awaited, Sleep, awaited_records, wait
from tools.errors import CommandFailed
from tools.events.documents import Document, Schema, event_name, schema_of
from tools.events.topic import TopicRefused, publish
from tools.events.webhook import HINTS, HostUnreachable, Webhook
from tools.installation import Installation
from tools.wording import GOOD_OUTCOMES, run_words

NOTHING: Final = "nothing"
"""Shown for a route of which the journal has no record yet."""

SENT: Final = "sent"


@dataclass(frozen=True, slots=True)
class Row:
    """One outcome of an event: on a route, or before any route was asked.

    :param outcome: an outcome; if the time was up, the record's state or ``nothing``.
    """

    route: str
    outcome: str
    words: str
    record: Record | None = None

    def document(self) -> dict[str, Any]:
        """Return it as JSON."""
        record = self.record
        return {
            "route": self.route or None,
            "outcome": self.outcome,
            "words": self.words,
            "key": None if record is None else record.key.key,
            "run_id": None if record is None else record.run_id,
            "run_url": None if record is None else record.run_url or None,
        }


@dataclass(frozen=True, slots=True)
class Sent:
    """An event that was sent, and what came of it."""

    event: Document
    rows: tuple[Row, ...]

    @property
    def is_good(self) -> bool:
        """Whether it was taken and nothing is left to do about it, as far as we have looked."""
        return all(row.outcome in {SENT, *GOOD_OUTCOMES} for row in self.rows)

    def document(self, target: str) -> dict[str, Any]:
        """As JSON."""
        return {"event": self.event, "sent_to": target, "outcomes": [row.document() for row in self.rows]}


@dataclass(frozen=True, slots=True)
class Answered:
    """``sent``, or ``deferred`` where the function failed, and the words to it."""

    outcome: str
    words: str


@dataclass(frozen=True)
class HostTarget:
    """A function app's host; if the function fails, the event has to be delivered again."""

    webhook: Webhook

    @property
    def name(self) -> str:
        """The address; nothing secret."""
        return self.webhook.url

    def keeps_source(self, event: Document) -> bool:  # noqa: ARG002 - whatever the event
        """Whether the event arrives with the source that it has."""
        return True

    def send(self, event: Document, deliveries: int = 0) -> Answered:
        """Send once.

        :param deliveries: how often it was sent before.
        :raises CommandFailed: it was not taken, or nobody answers.
        """
        try:
            answer = self.webhook.notify(event, deliveries)
        except HostUnreachable as exc:
            raise CommandFailed(
                f"{exc}; start the app ('make start'), or name another with --url", exit_code=1
            ) from exc
        if answer.is_accepted:
            return Answered(SENT, f"HTTP {answer.status}")
        words = ": ".join(part for part in (f"HTTP {answer.status}", answer.text) if part)
        if answer.is_failure:
            return Answered(Outcome.DEFERRED, words)
        hint = HINTS.get(answer.status, "is this the function app?")
        raise CommandFailed(f"{self.name} did not take {event_name(event)}: {words}; {hint}", exit_code=1)


@dataclass(frozen=True)
class TopicTarget:
    """A custom Event Grid topic, which delivers by itself."""

    name: str
    key: str = field(repr=False)
    make_identity: Callable[[], Any]

    def keeps_source(self, event: Document) -> bool:
        """Whether the event arrives with the source that it has."""
        return schema_of(event) is Schema.CLOUD

    def send(self, event: Document, deliveries: int = 0) -> Answered:  # noqa: ARG002 - Event Grid counts by itself
        """Publish it.

        :raises CommandFailed: it was not taken, or nobody answers.
        """
        try:
            publish(self.name, self.key, self.make_identity, event)
        except TopicRefused as exc:
            raise CommandFailed(f"{self.name} did not take {event_name(event)}: {exc}", exit_code=1) from exc
        return Answered(SENT, "published")


Target = HostTarget | TopicTarget


@dataclass(frozen=True)
class Patience:
    """How long to wait for an event's outcome."""

    timeout: timedelta
    clock: Clock = utc_now
    sleep: Sleep = time.sleep


def send_event(target: Target, event: Document) -> Sent:
    """Send an event, and leave it at that.

    :raises CommandFailed: nobody answers.
    """
    answer = target.send(event)
    return Sent(event, (Row("", answer.outcome, answer.words),))


def send_and_wait(installation: Installation, target: Target, event: Document, patience: Patience) -> Sent:
    """Send an event, again where that is ours to do, until the journal shows what came of it or the time is up.

    :raises CommandFailed: nobody answers.
    :raises ConfigurationError: the routes or the settings are wrong; nothing was sent.
    :raises JournalUnavailable: the journal does not answer.
    """
    verdict = installation.decide(json.dumps(event))
    awaited = awaited_records(installation, verdict, is_source_kept=target.keeps_source(event))
    until = patience.clock() + patience.timeout
    answers = [target.send(event)]

    def send_again() -> None:
        if answers[-1].outcome != SENT:
            answers.append(target.send(event, len(answers)))

    seen = wait(installation, awaited, until, send_again, patience.clock, patience.sleep)
    if seen:
        return Sent(event, tuple(_row(installation, one, answers[-1]) for one in seen))
    if answers[-1].outcome == SENT:
        return Sent(event, (Row("", Outcome.IGNORED, verdict.why_nothing),))
    return Sent(event, (Row("", answers[-1].outcome, answers[-1].words),))


def _row(installation: Installation, seen: Awaited, answer: Answered) -> Row:
    """Return what the journal says; if that is not final, with the answer to the last delivery."""
    record = seen.record
    if record is None:
        outcome = NOTHING
        words = (
            f"the journal {installation.journal_name} has no record of it; does the app use this journal and routes?"
        )
    elif seen.is_done:
        run = run_words(record.run_id, record.run_url)
        if seen.was_done:
            return Row(seen.key.route, Outcome.DUPLICATE, f"{record.state} before{run}", record)
        words = "; ".join(part for part in (run.removeprefix(": "), record.reason) if part)
        return Row(seen.key.route, record.state, words, record)
    else:
        outcome = record.state
        words = f"still {record.state}" + (f": {record.reason}" if record.reason else "")
    if answer.outcome != SENT:
        words += f"; the last answer was {answer.words}"
    return Row(seen.key.route, outcome, words, record)
