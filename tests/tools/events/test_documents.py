"""Events that are changed before they are sent: schemas, fresh ids, values put in; and the reading of files."""

import io
import json
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devstack.events import sample_names, sample_text
from shared.events.event import parse_event
from tools.errors import CommandFailed
from tools.events.dead_letters import read_events
from tools.events.documents import (
    Assignment,
    Schema,
    assigned,
    event_name,
    freshened,
    in_schema,
    parse_assignment,
    schema_of,
)
from tools.events.samples import sample_event

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def meaning(document: dict[str, Any]) -> tuple[Any, ...]:
    event = parse_event(json.dumps(document))
    return (event.id, event.type, event.source, event.subject, event.time, event.data)


class TestSchemas:
    @pytest.mark.parametrize("name", sample_names())
    def test_there_and_back_means_the_same(self, name: str) -> None:
        document = json.loads(sample_text(name))
        first = schema_of(document)
        assert first.value == ("cloud" if name.endswith(".cloud") else "eventgrid")
        other = Schema.EVENT_GRID if first is Schema.CLOUD else Schema.CLOUD
        assert in_schema(document, first) is document
        turned = in_schema(document, other)
        assert schema_of(turned) is other
        assert meaning(turned) == meaning(document) == meaning(in_schema(turned, first))

    def test_each_schema_has_its_own_keys_alone(self) -> None:
        document = sample_event("RunCompleted")
        cloud = in_schema(document, Schema.CLOUD)
        assert set(cloud) == {"id", "source", "type", "subject", "time", "data", "specversion"}
        assert set(in_schema(cloud | {"specVersion": "1.0"}, Schema.EVENT_GRID)) == set(document)


class TestFreshened:
    @pytest.mark.parametrize("schema", Schema)
    def test_id_and_time_and_nothing_else(self, schema: Schema) -> None:
        document = in_schema(sample_event("ModelRegistered"), schema)
        _, *before, _, data = meaning(document)
        assert meaning(freshened(document, "new", NOW)) == ("new", *before, NOW, data)
        assert "new" not in json.dumps(document), "what was read is not changed"

    def test_keys_as_the_event_spells_them(self) -> None:
        assert freshened({"ID": "a", "type": "t", "Time": "x"}, "b", NOW) == {
            "ID": "b",
            "type": "t",
            "Time": "2026-11-20T12:00:00Z",
        }


class TestAssignments:
    @pytest.mark.parametrize(
        ("text", "path", "value"),
        [
            ("data.runId=x", ("data", "runId"), "x"),
            ("subject=", ("subject",), ""),
            ("a=b=c", ("a",), "b=c"),
            ("data.x=7", ("data", "x"), 7),
            ('data.x="7"', ("data", "x"), "7"),
            ("data.x=null", ("data", "x"), None),
            ('data.x={"a": [1]}', ("data", "x"), {"a": [1]}),
            ("data.x=NaN", ("data", "x"), "NaN"),
            ("data.x=" + "[" * 100_000, ("data", "x"), "[" * 100_000),
            ('data.runProperties."azureml.pipelinerunid"=r', ("data", "runProperties", "azureml.pipelinerunid"), "r"),
            ("data.runTags.a b=c", ("data", "runTags", "a b"), "c"),
        ],
    )
    def test_read(self, text: str, path: tuple[str, ...], value: Any) -> None:
        assert parse_assignment(text) == Assignment(path, value)

    @pytest.mark.parametrize("text", ["", "x", "=x", "a.=x", ".a=x", "a..b=x", 'a."b=x', 'a"b"=x', " =x"])
    def test_nonsense(self, text: str) -> None:
        with pytest.raises(ValueError, match="must be a path, '=' and a value"):
            parse_assignment(text)

    @given(st.text())
    def test_any_text_is_read_or_told_to_be_wrong(self, text: str) -> None:
        with suppress(ValueError):
            assert all(parse_assignment(text).path)

    @pytest.mark.parametrize("schema", Schema)
    @pytest.mark.parametrize("name", ["type", "eventType", "EVENTTYPE"])
    def test_a_name_of_either_schema(self, schema: Schema, name: str) -> None:
        document = in_schema(sample_event("RunCompleted"), schema)
        changed = assigned(document, [parse_assignment(f"{name}=x")])
        assert set(changed) == set(document)
        assert meaning(changed)[1] == "x"

    def test_the_datas_keys_as_the_event_spells_them(self) -> None:
        changed = assigned(sample_event("ModelRegistered"), [parse_assignment("data.modelTags.Stage=x")])
        assert changed["data"]["ModelTags"] == {"stage": "candidate", "Stage": "x"}, "tags have their owner's spelling"

    def test_what_is_not_there_is_made(self) -> None:
        changed = assigned({"type": "t"}, [parse_assignment("data.runTags.a=1"), parse_assignment("data.runTags.b=2")])
        assert changed == {"type": "t", "data": {"runTags": {"a": 1, "b": 2}}}

    @pytest.mark.parametrize("document", [{"data": "text"}, {"data": {"a": 1}}])
    def test_a_path_through_what_is_no_object(self, document: dict[str, Any]) -> None:
        with pytest.raises(CommandFailed, match=r"--set data\.a\.b: data(\.a)? is no object of the event"):
            assigned(document, [parse_assignment("data.a.b=x")])


@pytest.mark.parametrize(
    ("document", "name"),
    [
        (sample_event("RunCompleted"), "RunCompleted 00000000-0000-0000-0000-000000000001"),
        (in_schema(sample_event("RunCompleted"), Schema.CLOUD), "RunCompleted 00000000-0000-0000-0000-000000000001"),
        ({}, "event"),
    ],
)
def test_event_names(document: dict[str, Any], name: str) -> None:
    assert event_name(document) == name


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
            (b"7", "holds neither an event nor an array of events"),
            (b"[]", "holds an empty array; put an event in it"),
            (b"[" * 100_000, "is nested too deeply"),
        ],
    )
    def test_what_is_none(self, content: bytes, words: str, tmp_path: Path) -> None:
        with pytest.raises(CommandFailed, match=words):
            self.read(content, tmp_path)

    @pytest.mark.parametrize("name", ["nope.json", "."])
    def test_what_cannot_be_read(self, name: str, tmp_path: Path) -> None:
        with pytest.raises(CommandFailed, match=r"cannot be read \(.*; name a file"):
            read_events([str(tmp_path / name)], io.BytesIO())
