"""What all stores have in common in how they store a record: the version of the schema, and older and newer fields.

Each stored record has the version of its schema. nextstage reads all earlier versions, and ignores fields that it does
not know. A change of the schema that an older nextstage would misunderstand gets a new version: the older one then
raises NewerRecord.

Another program can change a stored record. Then anything can be missing or have another type.
"""

import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final, cast

from shared.errors import NewerRecord, UnreadableRecord
from shared.journal.records import NO_EVENT, Entry, Gathered, JournalKey, Record, Skipped

SCHEMA: Final = 2
"""The latest version of the schema. Records of 0.1.0 have none, which means 0."""
_SCHEMA_WITHOUT_GATHERED: Final = 1

Found = Record | UnreadableRecord

_DOCUMENT_FIELDS: Final = {"$cooldown": "event_id", "$task": "subject"}
"""Where 0.1.0 looks for the document of a record: in a field of its entry, by the beginning of the partition's name."""

# Earlier and later times overflow when they are converted or a duration is added.
_FIRST_TIME: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_TIME: Final = datetime(9999, 1, 1, tzinfo=UTC)
_MALFORMED: Final = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError, zlib.error)
_MAX_REASON: Final = 200
_AFTER_IDS: Final = 2**63


def schema_of(record: Record) -> int:
    """Return the version of the schema in which a record is written: the earliest one that has all its fields."""
    return _SCHEMA_WITHOUT_GATHERED if record.gathered is None else SCHEMA


def check_schema(key: JournalKey, version: int) -> None:
    """Check the version of a record's schema, before anything else of the record is read.

    :raises NewerRecord: this version of nextstage cannot read it.
    """
    if version > SCHEMA:
        raise NewerRecord(
            f"{record_name(key)} was written by a newer version of nextstage: its schema has version {version}, and "
            f"this instance can read versions up to {SCHEMA}; upgrade this instance",
            *key,
        )


def later_fields(record: Record) -> dict[str, Any]:
    """Return the fields that records of 0.1.0 do not have, as JSON. A field without a value is left out."""
    fields = {
        "lost_until": record.lost_until and record.lost_until.isoformat(),
        "searched_until": record.searched_until and record.searched_until.isoformat(),
        "sender": record.sender,
        "routes": record.routes,
        "gathered": record.gathered and {**record.gathered._asdict(), "since": record.gathered.since.isoformat()},
    }
    return {name: value for name, value in fields.items() if value}


def read_later_fields(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that ``later_fields`` describes, by their names in ``Record``."""
    times = (name for name in ("lost_until", "searched_until") if name in stored)
    fields = {name: stored.get(name, "") for name in ("sender", "routes")}
    fields |= {name: datetime.fromisoformat(stored[name]) for name in times}
    if "gathered" in stored:
        into, events, since, group = (stored["gathered"][name] for name in Gathered._fields)
        fields["gathered"] = Gathered(into, events, datetime.fromisoformat(since), group)
    return fields


def stored_entry(record: Record) -> Entry:
    """Return the entry under which a record is stored.

    A record that is not about an event has its document there, in the field in which 0.1.0 looks for it, so that 0.1.0
    can use the journal after a roll-back.
    """
    if record.key.is_about_event:
        return record.entry
    field = _DOCUMENT_FIELDS.get(record.key.route.partition(".")[0], "request")
    return NO_EVENT._replace(**{field: record.document})


def read_entry(key: JournalKey, stored: Mapping[str, Any], event: str, request: str) -> tuple[Entry, str]:
    """Return the entry and the document of a record from its stored entry."""
    entry = Entry(stored["event_id"], stored["event_type"], stored["subject"], event, request)
    if key.is_about_event:
        return entry, ""
    # 0.1.0 also stored the id of the task of a wait, and the run that it waits for.
    return NO_EVENT, entry.request or entry.subject or entry.event_id


def checked(record: Record) -> Record:
    """Return a record of which each field may have any type.

    :raises ValueError: a field has a wrong type or value.
    """
    texts = (*record.entry, record.run_url, record.reason, record.document, record.sender, record.routes)
    if not all(isinstance(text, str) for text in (*texts, *(step.note for step in record.history))):
        raise ValueError("a string is missing")
    moments = [record.claimed_at, record.lease_until, record.settled_at, *(step.at for step in record.history)]
    moments += [moment for moment in (record.lost_until, record.searched_until) if moment is not None]
    if record.gathered is not None:
        moments.append(record.gathered.since)
        into, events, _, group = cast("tuple[object, ...]", record.gathered)
        if not (isinstance(into, str) and isinstance(group, str) and isinstance(events, int)):
            raise ValueError("the period of a gathered event is malformed")
    if not all(_FIRST_TIME <= moment <= _LAST_TIME for moment in moments):  # TypeError without a time zone
        raise ValueError("a time is not between 1970 and 9999")
    run_id: object = record.run_id
    if run_id is not None and not (isinstance(run_id, int) and 0 <= run_id < _AFTER_IDS):
        raise ValueError("the run ID is not a number from 0 to 2^63 - 1")
    return record


@contextmanager
def reading(key: JournalKey) -> Iterator[None]:
    """Read a record, or its document.

    :raises UnreadableRecord: the content of the record raised an exception.
    """
    try:
        yield
    except _MALFORMED as exc:
        why = f"{type(exc).__name__}: {exc}"[:_MAX_REASON]
        text = f"{record_name(key)} cannot be read ({why}); another program has changed it: repair or delete the record"
        printable = "".join(character if character.isprintable() else " " for character in text)
        raise UnreadableRecord(printable, *key) from exc


def readable(found: Iterable[Found], skipped: Skipped) -> Iterator[Record]:
    """Return the records that could be read."""
    for one in found:
        if isinstance(one, UnreadableRecord):
            skipped(one)
        else:
            yield one


def refuse(unreadable: UnreadableRecord) -> None:
    """Raise the error of a record that must not be skipped."""
    raise unreadable


def record_name(key: JournalKey) -> str:
    """Return how messages name a record."""
    return f"the record {key.key[:12]} of route {key.route}"
