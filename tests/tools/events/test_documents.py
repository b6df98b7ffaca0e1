"""Changes to events before they are sent (schema, new ids, values), and the reading of event files."""

import io
import json
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devstack.events import sample_names, sample_text
from shared.events.event import parse_event
from tools.errors import CommandFailed, UnreadableFile
from tools.events.dead_letters import read_dead_letters, read_events
from tools.events.documents import (
    Assignment,
    Schema,
    assigned,
    event_name,
    in_schema,
    parse_assignment,
    renewed,
    schema_of,
)
from tools.events.samples import sample_event

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def meaning(document: dict[str, Any]) -> tuple[Any, ...]:
    event = parse_event(json.dumps(document))
    return (event.id, event.type, event.source, event.subject, event.time, event.data)


class TestSchemas:
    @pytest.mark.parametrize("name", sample_names())
    def test_conversion_keeps_the_meaning(self, name: str) -> None:
        document = json.loads(sample_text(name))
        first = schema_of(document)
        assert first is (Schema.CLOUD if name.endswith(".cloud") else Schema.EVENT_GRID)
        other = Schema.EVENT_GRID if first is Schema.CLOUD else Schema.CLOUD
        assert in_schema(document, first) is document
        turned = in_schema(document, other)
        assert schema_of(turned) is other
        assert meaning(turned) == meaning(document) == meaning(in_schema(turned, first))

    def test_each_schema_has_only_its_own_keys(self) -> None:
        document = sample_event("RunCompleted")
        cloud = in_schema(document, Schema.CLOUD)
        assert set(cloud) == {"id", "source", "type", "subject", "time", "data", "specversion"}
        assert set(in_schema(cloud | {"specVersion": "1.0"}, Schema.EVENT_GRID)) == set(document)


class TestRenewed:
    @pytest.mark.parametrize("schema", Schema)
    def test_only_id_and_time_change(self, schema: Schema) -> None:
        document = in_schema(sample_event("ModelRegistered"), schema)
        _, *before, _, data = meaning(document)
        assert meaning(renewed(document, "new", NOW)) == ("new", *before, NOW, data)
        assert "new" not in json.dumps(document), "the original is not changed"

    def test_keys_keep_the_events_spelling(self) -> None:
        fresh = renewed({"ID": "a", "type": "t", "Time": "x"}, "b", NOW)
        assert fresh == {"ID": "b", "type": "t", "Time": "2026-11-20T12:00:00Z"}


class TestAssignments:
    @pytest.mark.parametrize(
        ("text", "path", "value"),
        [
            ("data.runId=x", "data runId", "x"),
            ("subject=", "subject", ""),
            ("a=b=c", "a", "b=c"),
            ("data.x=7", "data x", 7),
            ('data.x="7"', "data x", "7"),
            ("data.x=null", "data x", None),
            ('data.x={"a": [1]}', "data x", {"a": [1]}),
            ("data.x=NaN", "data x", "NaN"),
            ("data.x=" + "[" * 100_000, "data x", "[" * 100_000),
            ('data.runProperties."azureml.pipelinerunid"=r', "data runProperties azureml.pipelinerunid", "r"),
        ],
    )
    def test_valid(self, text: str, path: str, value: Any) -> None:
        assert parse_assignment(text) == Assignment(tuple(path.split()), value)
        assert parse_assignment("data.runTags.a b=c").path == ("data", "runTags", "a b")

    @pytest.mark.parametrize("text", ["", "x", "=x", "a.=x", ".a=x", "a..b=x", 'a."b=x', 'a"b"=x', " =x"])
    def test_invalid(self, text: str) -> None:
        with pytest.raises(ValueError, match="must have the form PATH=VALUE"):
            parse_assignment(text)

    @given(st.text())
    def test_any_text_is_parsed_or_refused(self, text: str) -> None:
        with suppress(ValueError):
            assert all(parse_assignment(text).path)

    @pytest.mark.parametrize("schema", Schema)
    @pytest.mark.parametrize("name", ["type", "eventType", "EVENTTYPE"])
    def test_names_of_either_schema_are_accepted(self, schema: Schema, name: str) -> None:
        document = in_schema(sample_event("RunCompleted"), schema)
        changed = assigned(document, [parse_assignment(f"{name}=x")])
        assert set(changed) == set(document)
        assert meaning(changed)[1] == "x"

    def test_keys_of_data_and_tags_keep_the_events_spelling(self) -> None:
        values = ["data.modelTags.Stage=x", "data.modelTags.New=y", "data.modelTags.new=z"]
        changed = assigned(sample_event("ModelRegistered"), map(parse_assignment, values))
        assert changed["data"]["ModelTags"] == {"stage": "x", "New": "z"}

    def test_missing_objects_are_created(self) -> None:
        changed = assigned({"type": "t"}, [parse_assignment("data.a.x=1"), parse_assignment("data.a.y=2")])
        assert changed == {"type": "t", "data": {"a": {"x": 1, "y": 2}}}

    @pytest.mark.parametrize(
        ("name", "values", "subject"),
        [
            ("ModelRegistered", ["data.ModelVersion=7"], "models/sample-model:7"),
            ("ModelRegistered", ["data.modelname=a/b", 'data.modelVersion="1"'], "models/a/b:1"),
            ("ModelRegistered", ["data.ModelVersion=7", "subject=mine"], "mine"),
            ("ModelRegistered", ["data.ModelTags.models=7", "data.ModelProperties=x"], "models/sample-model:1"),
            ("ModelRegistered", ["data=7"], "models/sample-model:1"),
            ("ModelRegistered", ["subject=[1]", "data.ModelVersion=7"], [1]),
            ("RunCompleted", ["data.runId=r:7"], "experiments/11111111-1111-1111-1111-111111111111/runs/r:7"),
        ],
    )
    @pytest.mark.parametrize("schema", Schema)
    def test_the_subject_follows_the_data(self, schema: Schema, name: str, values: list[str], subject: str) -> None:
        document = in_schema(sample_event(name), schema)
        assert assigned(document, map(parse_assignment, values))["subject"] == subject

    @pytest.mark.parametrize("document", [{"data": "text"}, {"data": {"a": 1}}])
    def test_a_path_through_a_value_that_is_not_an_object(self, document: dict[str, Any]) -> None:
        with pytest.raises(CommandFailed, match=r"--set data\.a\.b: data(\.a)? is not an object in the event"):
            assigned(document, [parse_assignment("data.a.b=x")])


def test_event_names() -> None:
    event = sample_event("RunCompleted")
    for document in (event, in_schema(event, Schema.CLOUD)):
        assert event_name(document) == "RunCompleted 00000000-0000-0000-0000-000000000001"
    assert event_name({}) == "event"


class TestInput:
    def read(self, content: bytes, tmp_path: Path) -> list[str]:
        (tmp_path / "x.json").write_bytes(content)
        from_file = [event.text for event in read_events([str(tmp_path / "x.json")], io.BytesIO())]
        assert [event.text for event in read_events(["-"], io.BytesIO(content))] == from_file
        return from_file

    def test_one_event_an_array_and_a_byte_order_mark(self, tmp_path: Path) -> None:
        assert self.read(b'{"id": "a"}', tmp_path) == ['{"id": "a"}']
        assert self.read(b'\xef\xbb\xbf[{"id": "a"}, 7]', tmp_path) == ['{"id": "a"}', "7"]

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (b"{", "is not JSON"),
            (b"\xff", "is not JSON"),
            (b"7", "contains neither an event nor an array of events"),
            (b"[]", "contains an empty array; add an event"),
            (b"[" * 100_000, "is nested too deeply"),
        ],
    )
    def test_unreadable_input(self, content: bytes, words: str, tmp_path: Path) -> None:
        with pytest.raises(CommandFailed, match=words):
            self.read(content, tmp_path)
        with pytest.raises(CommandFailed, match=r"cannot be read \(.*; name a file"):
            read_events([str(tmp_path)], io.BytesIO())

    def test_an_event_that_can_be_read_but_not_written(self) -> None:
        """The limits of Python's reader and writer differ by a few levels."""
        for depth in range(sys.getrecursionlimit() - 150, sys.getrecursionlimit()):
            with suppress(UnreadableFile):
                read_dead_letters("x.json", b'{"data": ' + b"[" * depth + b"]" * depth + b"}")

    def test_a_file_without_an_end(self) -> None:
        with pytest.raises(CommandFailed, match=r"/dev/zero cannot be read \(File too large\); name a file"):
            read_events(["/dev/zero"], io.BytesIO())


def test_deeply_nested_events_can_be_changed() -> None:
    """Python reads 900 levels of JSON, but copies only about 400."""
    event = {"id": "1", "type": "t", "specversion": "1.0", "data": json.loads("[" * 700 + "]" * 700)}
    changed = assigned(renewed(event, "2", datetime(2026, 11, 20, tzinfo=UTC)), [parse_assignment("subject=x")])
    assert (changed["id"], changed["subject"], event["id"]) == ("2", "x", "1")
    assert json.dumps(changed["data"]) == json.dumps(event["data"])
