"""Converts journal records to entities of Azure Table storage and back. No I/O.

Limits of an entity: 1 MiB in total, 64 KiB per property, 252 properties, no control characters in its keys.
Source: https://learn.microsoft.com/rest/api/storageservices/understanding-the-table-service-data-model

Therefore long strings are compressed with zlib and split into binary properties of 64 KiB: ``event0`` to ``event7``,
``request0``, ``request1`` and ``notes0``, which has all other strings. A record that is not about an event has its
document in place of the request or of a string in the notes (``stored_entry``). A string whose compressed size exceeds
its limit is cut:

=========  =====================  ==========================================================================
string     limit (compressed)     what is kept of a longer string
=========  =====================  ==========================================================================
event      512 KiB                the first 506 KiB or more, and a note that it was cut
request    128 KiB                the first 126 KiB or more, and the note
the rest   64 KiB                 1,500 bytes of each string, and the note; the last 20 steps
=========  =====================  ==========================================================================

Together these stay below 1 MiB even in base64, which is the form that is sent and that Azurite measures. An event of
Event Grid has at most 1 MiB, and JSON compresses to much less than half. A request has a few KiB. A request that was
cut cannot be parsed, so it cannot be sent again by mistake.

The binary properties store every string exactly, even characters that JSON or the service does not support (NUL, lone
surrogates). State, run ID and the first three times are separate properties, for filters. ``event_type``, ``subject``,
``reason`` and ``run_url`` are for people who look at the table. They are shortened and printable, and the app does not
read them.
"""

import json
import re
import zlib
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from itertools import count, takewhile
from typing import Any, Final

from shared.journal.records import (
    MAX_HISTORY,
    NO_EVENT,
    RUN_UNKNOWN,
    Entry,
    JournalKey,
    Record,
    Selection,
    State,
    Step,
    after_prefix,
    cut_remark,
)
from shared.journal.stored_form import (
    check_schema,
    checked,
    later_fields,
    read_entry,
    read_later_fields,
    reading,
    schema_of,
    stored_entry,
)

Entity = dict[str, Any]
"""Maps property names to str, bytes, datetime, or (value, Edm type)."""

PROPERTY_BYTES: Final = 64 * 1024
EVENT_BYTES: Final = 8 * PROPERTY_BYTES
REQUEST_BYTES: Final = 2 * PROPERTY_BYTES
NOTES_BYTES: Final = 1 * PROPERTY_BYTES
CUT_TEXT_BYTES: Final = 1500

_SHOWN_CHARACTERS: Final = 1000
# Azurite compares times in milliseconds, the service in units of 100 ns.
_AZURITE_TICK: Final = timedelta(milliseconds=1)
_RUN_PREFIX: Final = "run:"
_AFTER_RUNS: Final = "run;"
_RUN_DIGITS: Final = 19
_INT64: Final = "Edm.Int64"
# Route names, "$unrouted", and SHA-256 hashes in hex: all are valid keys, and need no escaping in a filter.
_KEY: Final = re.compile(r"\$?[A-Za-z0-9._-]{1,512}")


def record_to_entity(record: Record, write_id: str) -> Entity:
    """Return the entity for a record. It does not contain the version.

    :param write_id: identifies this write, so that its writer can recognize it.
    :raises ValueError: the route or the key cannot be an entity's key.
    """
    entry = stored_entry(record)
    entity: Entity = {
        **entity_key(record.key.route, record.key.key),
        "write_id": write_id,
        "schema": schema_of(record),
        "state": record.state.value,
        "claimed_at": record.claimed_at.astimezone(UTC),
        "lease_until": record.lease_until.astimezone(UTC),
        "settled_at": record.settled_at.astimezone(UTC),
        **_split("event", _packed(entry.event, EVENT_BYTES)),
        **_split("request", _packed(entry.request, REQUEST_BYTES)),
        **_split("notes", _packed_notes(record, entry)),
        "event_type": _shown(record.entry.event_type),
        "subject": _shown(record.entry.subject),
        "reason": _shown(record.reason),
        "run_url": _shown(record.run_url),
    }
    if record.run_id is not None:
        entity["run_id"] = (record.run_id, _INT64)
    if record.shares_run_id:
        entity["shares_run"] = True
    return entity


def record_from_entity(key: JournalKey, entity: Mapping[str, Any], version: str) -> Record:
    """Return the record from which ``record_to_entity`` made the entity.

    :raises NewerRecord: a newer version of nextstage has made the entity.
    :raises UnreadableRecord: another program has made or changed the entity.
    """
    with reading(key):
        check_schema(key, entity.get("schema", 0))
        notes = json.loads(_unpacked("notes", entity))
        if "request0" in entity:
            texts = {name: _unpacked(name, entity) for name in ("event", "request")}
            entry, document = read_entry(key, notes["entry"], **texts)
        else:  # written after 0.1.0 and before schema 1
            entry, document = NO_EVENT, _unpacked("document", entity)
        return checked(
            Record(
                key=key,
                state=State(entity["state"]),
                entry=entry,
                claimed_at=_plain(entity["claimed_at"]),
                lease_until=_plain(entity["lease_until"]),
                settled_at=_plain(entity["settled_at"]),
                version=version,
                run_id=entity["run_id"][0] if "run_id" in entity else None,
                run_url=notes["run_url"],
                reason=notes["reason"],
                history=tuple(Step(datetime.fromisoformat(at), State(to), note) for at, to, note in notes["history"]),
                document=document,
                shares_run_id=entity.get("shares_run", False),
                **read_later_fields(notes),
            )
        )


def run_marker(key: JournalKey, run_id: int) -> Entity:
    """Return the marker of a run: the entity that names the record that owns the run. A run has one per route."""
    return {**entity_key(key.route, ""), "RowKey": run_row_key(run_id), "owner": key.key}


def run_row_key(run_id: int) -> str:
    """Return the row key of a run's marker.

    It has leading zeros, so a range of run IDs is a range of row keys. It has a colon, which no record's key has.
    """
    return f"{_RUN_PREFIX}{run_id:0{_RUN_DIGITS}d}"


def may_own_filter(run_ids: Collection[int]) -> str:
    """Return the filter for the records that may own one of the runs, and others that ``may_own_one_of`` removes.

    It has a range instead of each run ID: a filter has at most 15 comparisons. The runs are close in time and therefore
    in ID.
    Source: https://learn.microsoft.com/rest/api/storageservices/querying-tables-and-entities
    """
    parts = [f"state eq '{state}'" for state in sorted(RUN_UNKNOWN)]
    if run_ids:
        parts.append(f"(run_id ge {min(run_ids)}L and run_id le {max(run_ids)}L)")
    return " or ".join(parts)


def selection_filter(selection: Selection) -> str:
    """Return the filter for the records of a selection, without markers.

    The service returns them in the order of their keys.

    It also finds records that were claimed up to a millisecond too late; ``fits`` removes them.
    """
    parts = [f"(RowKey lt '{_RUN_PREFIX}' or RowKey ge '{_AFTER_RUNS}')"]
    if selection.route is not None:
        partition_key = entity_key(selection.route, "")["PartitionKey"]
        parts.append(f"PartitionKey eq '{partition_key}'")
    if selection.route_prefix is not None:
        first = entity_key(selection.route_prefix, "")["PartitionKey"]
        parts.append(f"PartitionKey ge '{first}' and PartitionKey lt '{after_prefix(first)}'")
    if selection.after is not None:
        route, key = entity_key(*selection.after).values()
        # The first comparison is a range that the service can seek to.
        parts.append(f"PartitionKey ge '{route}' and (PartitionKey gt '{route}' or RowKey gt '{key}')")
    if selection.states:
        states = " or ".join(f"state eq '{state}'" for state in sorted(selection.states))
        parts.append(f"({states})")
    if selection.claimed_before is not None:
        moment = selection.claimed_before.astimezone(UTC) + _AZURITE_TICK
        parts.append(f"claimed_at lt {_moment(moment)}")
    if selection.written_since is not None:
        parts.append(f"Timestamp ge {_moment(selection.written_since.astimezone(UTC) - _AZURITE_TICK)}")
    return " and ".join(parts)


def fits(record: Record, selection: Selection) -> bool:
    """Return whether a record that ``selection_filter`` has found is really part of the selection."""
    return selection.claimed_before is None or record.claimed_at < selection.claimed_before


def entity_key(route: str, key: str) -> Entity:
    """Return the PartitionKey and the RowKey.

    :raises ValueError: one of them has a character that is not allowed in a key, or not safe in a filter.
    """
    for name, value in (("route", route), ("key", key or "-")):
        if not _KEY.fullmatch(value):
            raise ValueError(f"the {name} {value!r} cannot be an entity's key; it may contain letters, digits and ._-")
    return {"PartitionKey": route, "RowKey": key}


def _moment(moment: datetime) -> str:
    return f"datetime'{moment:%Y-%m-%dT%H:%M:%S.%f}Z'"


def _packed(text: str, most: int) -> bytes:
    raw = text.encode("utf-8", "surrogatepass")
    packed = zlib.compress(raw)
    if len(packed) <= most:
        return packed
    # Data that cannot be compressed grows by less than 1 %.
    kept = raw[: most - most // 100]
    return zlib.compress(kept.decode("utf-8", "ignore").encode() + cut_remark(len(kept), len(raw)).encode())


def _packed_notes(record: Record, entry: Entry) -> bytes:
    notes: dict[str, Any] = {
        "entry": {name: getattr(entry, name) for name in ("event_id", "event_type", "subject")},
        "run_url": record.run_url,
        "reason": record.reason,
        "history": [[step.at.isoformat(), step.state.value, step.note] for step in record.history],
        **later_fields(record),
    }
    packed = _compressed(notes)
    if len(packed) <= NOTES_BYTES:
        return packed
    return _compressed(_shortened({**notes, "history": notes["history"][-MAX_HISTORY:]}))


def _compressed(notes: object) -> bytes:
    return zlib.compress(json.dumps(notes, ensure_ascii=False).encode("utf-8", "surrogatepass"))


def _shortened(value: Any) -> Any:
    """Return the same structure with each long string cut."""
    match value:
        case str():
            raw = value.encode("utf-8", "surrogatepass")
            return value if len(raw) <= CUT_TEXT_BYTES else raw[:CUT_TEXT_BYTES].decode("utf-8", "ignore") + "... [cut]"
        case dict():
            return {name: _shortened(inner) for name, inner in value.items()}
        case _:
            return [_shortened(inner) for inner in value]


def _split(name: str, packed: bytes) -> Entity:
    starts = range(0, len(packed), PROPERTY_BYTES)
    return {f"{name}{index}": packed[start : start + PROPERTY_BYTES] for index, start in enumerate(starts)}


def _unpacked(name: str, entity: Mapping[str, Any]) -> str:
    names = takewhile(entity.__contains__, (f"{name}{index}" for index in count()))
    return zlib.decompress(b"".join(entity[part] for part in names)).decode("utf-8", "surrogatepass")


def _shown(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text[:_SHOWN_CHARACTERS])


def _plain(moment: datetime) -> datetime:
    # The library returns a subclass with the service's own string, which other code should not depend on.
    return datetime.fromisoformat(moment.isoformat())
