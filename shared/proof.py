"""The answer to a test event, with which ``manage.py doctor --deployed`` tests a deployed app.

The app writes a note into the journal and queues nothing. The note shows that the event has reached the app, and that
the app works with the journal that the command reads. There are at most ``_PLACES`` notes: a new one replaces an older
one, however many test events are sent.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Final

from shared.journal.journal import Journal
from shared.journal.records import JournalKey
from shared.journal.stored_form import reading
from shared.logs import logger
from shared.version import VERSION

PARTITION: Final = "$test-events"
_PLACES: Final = 64
_MAX_INSTANCE: Final = 100
_MAX_NAME: Final = 100
"""How much of an event's ID is logged."""

_log = logger("nextstage.test_event")


@dataclass(frozen=True, slots=True)
class Proof:
    """What the app has written down about a test event.

    :param version: the version of the app.
    :param routes: the digest of the routes.yaml that the app runs.
    :param instance: the app's instance in Azure; empty if unknown.
    :param at: when the app wrote it, by the clock of the journal.
    """

    version: str
    routes: str
    instance: str
    at: datetime


def write_proof(journal: Journal, event_id: str, routes: str, instance: str) -> None:
    """Log that a test event has arrived, and write it down.

    :param routes: the digest of the routes.yaml that the app runs.
    :raises JournalUnavailable: the journal does not answer.
    """
    name = repr(event_id[:_MAX_NAME])
    _log.info("the test event %s has arrived at version %s with routes %s; it queues nothing", name, VERSION, routes)
    key, event = _place(event_id)
    document = {"event": event, "version": VERSION, "routes": routes, "instance": instance[:_MAX_INSTANCE]}
    journal.note(key, json.dumps(document))


def find_proof(journal: Journal, event_id: str) -> Proof | None:
    """Return what the app has written down about a test event; None if nothing, or if a later one has replaced it.

    :raises JournalUnavailable: the journal does not answer.
    """
    key, event = _place(event_id)
    found = journal.get(key)
    if found is None:
        return None
    with reading(key):
        stored = json.loads(found.document)
        if stored["event"] != event:
            return None
        return Proof(str(stored["version"]), str(stored["routes"]), str(stored["instance"]), found.claimed_at)


def _place(event_id: str) -> tuple[JournalKey, str]:
    """Return the key of the note about an event, and the hash of the event's ID, which the note contains."""
    event = sha256(event_id.encode()).hexdigest()
    return JournalKey(PARTITION, str(int(event[:8], 16) % _PLACES)), event
