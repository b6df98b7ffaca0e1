"""What all stores have in common in how they store a record: the version of the schema, and older and newer fields.

Each stored record has the version of its schema. nextstage reads all earlier versions, and ignores fields that it does
not know. A change of the schema that an older nextstage would misunderstand gets a new version: the older one then
raises NewerRecord.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from shared.errors import NewerRecord
from shared.journal.records import NO_EVENT, Entry, JournalKey, Record

SCHEMA: Final = 1
"""The version of the schema in which records are written. Records of 0.1.0 have none, which means 0."""


def check_schema(key: JournalKey, version: int) -> None:
    """Check the version of a record's schema, before anything else of the record is read.

    :raises NewerRecord: this version of nextstage cannot read it.
    """
    if version > SCHEMA:
        raise NewerRecord(
            f"{record_name(key)} was written by a newer version of nextstage: its schema has version {version}, and "
            f"this instance can read versions up to {SCHEMA}; upgrade this instance"
        )


def later_fields(record: Record) -> dict[str, Any]:
    """Return the fields that records of 0.1.0 do not have, as JSON. A field without a value is left out."""
    fields = {
        "sent_until": record.sent_until and record.sent_until.isoformat(),
        "searched_until": record.searched_until and record.searched_until.isoformat(),
        "sender": record.sender,
    }
    return {name: value for name, value in fields.items() if value}


def read_later_fields(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that ``later_fields`` describes, by their names in ``Record``."""
    times = (name for name in ("sent_until", "searched_until") if name in stored)
    return {"sender": stored.get("sender", ""), **{name: datetime.fromisoformat(stored[name]) for name in times}}


def read_entry(key: JournalKey, stored: Mapping[str, Any], event: str, request: str) -> tuple[Entry, str]:
    """Return the entry and the document of a record that was stored with an entry.

    A record that is not about an event has one only if 0.1.0 wrote it. Its document is in a field of an event: a wait
    and the final status of a run in ``request``, the run that a task waits for in ``subject``, the holder of a cooldown
    window in ``event_id``.
    """
    entry = Entry(stored["event_id"], stored["event_type"], stored["subject"], event, request)
    if key.is_about_event:
        return entry, ""
    return NO_EVENT, entry.request or entry.subject or entry.event_id


def record_name(key: JournalKey) -> str:
    """Return how messages name a record."""
    return f"the record {key.key[:12]} of route {key.route}"
