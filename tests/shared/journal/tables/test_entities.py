"""Records as entities: exact below the documented limits, cut with a remark above them."""

import random
import zlib
from datetime import UTC, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given

from shared.errors import UnreadableRecord
from shared.journal.records import MAX_HISTORY, NO_EVENT, Entry, JournalKey, Record, Selection, State, Step
from shared.journal.tables import entities
from shared.journal.tables.entities import record_from_entity, record_to_entity
from tests.support.journal.records import NOW, any_record, incompressible_text, record

KEY = JournalKey("route", "ab12")


def round_trip(wanted: Record) -> Record:
    return record_from_entity(wanted.key, record_to_entity(wanted, "w"), wanted.version)


def holding(name: str, text: str) -> Record:
    """Return a record with this string as its document, or in its entry."""
    if name == "document":
        return record(route="$wait.a", entry=NO_EVENT, document=text)
    return record(entry=record().entry._replace(**{name: text}))


def test_the_properties_of_an_entity() -> None:
    lease_until, settled_at = NOW + timedelta(seconds=60), NOW + timedelta(seconds=55)
    wanted = record(
        state=State.QUEUED, lease_until=lease_until, settled_at=settled_at, run_id=2**40, run_url="u", reason="1\n2"
    )
    entity = record_to_entity(wanted, "the write")
    assert {name: value for name, value in entity.items() if not isinstance(value, bytes)} == {
        "PartitionKey": "route",
        "RowKey": "ab12",
        "write_id": "the write",
        "schema": 1,
        "state": "queued",
        "claimed_at": NOW,
        "lease_until": lease_until,
        "settled_at": settled_at,
        "run_id": (2**40, "Edm.Int64"),
        "event_type": "type",
        "subject": "subject",
        "reason": "1 2",
        "run_url": "u",
    }
    assert zlib.decompress(entity["event0"]) == b'{"event": "\xc3\xbc\x00"}'
    assert zlib.decompress(entity["request0"]) == b'{"request": 1}'


def test_a_record_without_a_run_has_no_run_id() -> None:
    assert "run_id" not in record_to_entity(record(run_id=None), "w")


def test_times_are_stored_in_utc() -> None:
    there = NOW.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert record_to_entity(record(claimed_at=there), "w")["claimed_at"].tzinfo is UTC
    assert round_trip(record(claimed_at=there)).claimed_at == NOW


@given(any_record)
def test_every_record_is_read_back_unchanged(wanted: Record) -> None:
    assert round_trip(wanted) == wanted


@pytest.mark.parametrize(
    ("name", "bound"),
    [("event", entities.EVENT_BYTES), ("request", entities.REQUEST_BYTES), ("document", entities.REQUEST_BYTES)],
    ids=["event", "request", "document"],
)
class TestLongTexts:
    def test_a_string_up_to_the_limit_is_exact(self, name: str, bound: int) -> None:
        text = incompressible_text(bound * 128 // 100)
        assert bound * 96 // 100 < len(zlib.compress(text.encode())) <= bound
        wanted = holding(name, text)
        assert round_trip(wanted) == wanted
        start = "request" if name == "document" else name
        parts = [value for part, value in record_to_entity(wanted, "w").items() if part.startswith(start)]
        assert max(len(part) for part in parts if isinstance(part, bytes)) == entities.PROPERTY_BYTES

    def test_a_longer_string_is_cut_with_a_remark(self, name: str, bound: int) -> None:
        text = incompressible_text(bound * 2)
        wanted = holding(name, text)
        found = round_trip(wanted)
        kept: str = found.document or getattr(found.entry, name)
        beginning, remark = kept.split("... [", 1)
        assert text.startswith(beginning)
        assert len(beginning) >= bound * 98 // 100
        assert remark == f"cut by the journal: {len(beginning)} of {len(text)} bytes are kept]"
        assert round_trip(round_trip(wanted)) == round_trip(wanted), "writing it again does not change it"

    def test_a_string_that_cannot_be_compressed_fits(self, name: str, bound: int) -> None:
        text = "".join(map(chr, random.Random(2).choices(range(0x10000, 0x110000), k=bound)))
        packed = record_to_entity(holding(name, text), "w")
        assert sum(len(value) for value in packed.values() if isinstance(value, bytes)) <= bound + 2 * 1024


class TestNotes:
    def test_each_string_is_cut_above_the_limit(self) -> None:
        steps = tuple(Step(NOW, State.RELEASED, incompressible_text(9_000, seed)) for seed in range(MAX_HISTORY + 5))
        wanted = record(reason="ü" * 2000, history=steps, run_url="short")
        cut = round_trip(wanted)
        assert cut.reason == "ü" * 750 + "... [cut]"
        assert cut.history == tuple(step._replace(note=step.note[:1500] + "... [cut]") for step in steps[5:])
        assert cut.run_url == "short"
        assert cut.entry == wanted.entry
        assert round_trip(cut) == cut

    def test_strings_that_compress_worst_fit(self) -> None:
        choices = random.Random(3).choices
        worst = ["".join(map(chr, choices(range(first, last), k=30_000))) for first, last in _PLANES * 9]
        texts = iter(worst)
        wanted = record(
            entry=Entry(next(texts), next(texts), next(texts), "", ""),
            reason=next(texts),
            run_url=next(texts),
            history=tuple(Step(NOW, State.RELEASED, next(texts)) for _ in range(MAX_HISTORY)),
        )
        packed = record_to_entity(wanted, "w")
        assert len(packed["notes0"]) <= entities.NOTES_BYTES
        assert "notes1" not in packed


_PLANES = [(0, 32), (0x80, 0x800), (0x4E00, 0x9FFF), (0x10000, 0x110000)]


def test_the_largest_entity_is_below_a_mebibyte_in_base64() -> None:
    """Base64 has four characters for three bytes; properties for people have at most 1,000 characters of 4 bytes."""
    assert (entities.EVENT_BYTES + entities.REQUEST_BYTES + entities.NOTES_BYTES) * 4 // 3 + 4 * 4000 < 2**20


def test_properties_for_people_are_short_and_printable() -> None:
    assert record_to_entity(record(reason="\ud800\x00a\n" + "b" * 2000), "w")["reason"] == "  a " + "b" * 996


class TestKeys:
    @pytest.mark.parametrize("bad", ["", "a/b", "a\\b", "a#b", "a?b", "a\n", "a\x7f", "it's", "é", "run:5"])
    def test_a_key_with_invalid_characters_is_refused(self, bad: str) -> None:
        with pytest.raises(ValueError, match=r"the route .* cannot be an entity's key"):
            entities.entity_key(bad, "ab12")
        if bad:
            with pytest.raises(ValueError, match=r"the key .* cannot be an entity's key"):
                record_to_entity(record(bad), "w")

    def test_a_marker_names_its_owner(self) -> None:
        assert entities.run_marker(KEY, 5) == {
            "PartitionKey": "route",
            "RowKey": "run:0000000000000000005",
            "owner": "ab12",
        }


class TestFilters:
    """Filters in OData. Source: https://learn.microsoft.com/rest/api/storageservices/querying-tables-and-entities"""

    def test_a_filter_has_every_part_of_the_selection(self) -> None:
        there = NOW.astimezone(timezone(timedelta(hours=2)))
        selection = Selection("$cooldown.a", frozenset({State.QUEUED, State.PARKED}), there)
        assert entities.selection_filter(selection).split(" and ") == [
            "(RowKey lt 'run:' or RowKey ge 'run;')",
            "PartitionKey eq '$cooldown.a'",
            "(state eq 'parked' or state eq 'queued')",
            "claimed_at lt datetime'2026-11-20T12:00:00.124456Z'",
        ]

    @pytest.mark.parametrize("route", ["x' or 'a' eq 'a", "", "a b"])
    def test_a_route_cannot_extend_the_filter(self, route: str) -> None:
        with pytest.raises(ValueError, match="cannot be an entity's key"):
            entities.selection_filter(Selection(route=route))


@pytest.mark.parametrize(
    "change",
    [
        {"state": "unheard-of"},
        {"event0": b"not compressed"},
        {"notes0": zlib.compress(b"[]")},
        {"notes0": zlib.compress(b'{"entry": {}}')},
        {"claimed_at": "yesterday"},
        {"run_id": 5},
        {"lease_until": None},
    ],
    ids=str,
)
def test_an_entity_of_another_program_is_unreadable(change: dict[str, Any]) -> None:
    entity = {**record_to_entity(record(), "w"), **change}
    with pytest.raises(UnreadableRecord, match=r"^the record ab12 of route route cannot be read .*: repair or delete"):
        record_from_entity(KEY, entity, "v")
