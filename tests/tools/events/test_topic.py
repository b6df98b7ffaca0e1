"""Publishing to a custom topic with Event Grid's library, over a socket."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.events.event import parse_event
from shared.events.event_type import SAMPLE_WORKSPACE
from tests.support.azure import Identity
from tests.support.canaries import leaks, secret
from tests.support.journal.stores import no_identity
from tests.support.services.event_grid_topic import (
    KEY,
    RESOURCE_ID,
    TOKEN,
    CustomTopic,
    certificate,
    serving_topic,
)
from tests.tools.conftest import Desk
from tools.errors import CommandFailed
from tools.events.documents import Schema, in_schema
from tools.events.samples import sample_event
from tools.events.topic import publish

PARKING = "name: evaluate\nevent: RunCompleted\npipeline: 1\nparameters: { x: '{{ data.nope }}' }"
EVENT = sample_event("RunCompleted")
CLOUD_EVENT = in_schema(EVENT, Schema.CLOUD)


@pytest.fixture
def topic() -> Iterator[CustomTopic]:
    with serving_topic(CustomTopic(is_cloud=False)) as topic:
        yield topic


class TestPublish:
    def test_event_grids_schema_with_a_key(self, topic: CustomTopic) -> None:
        publish(topic.url, KEY, no_identity, EVENT)
        (event,) = topic.events
        assert event == {key: value for key, value in EVENT.items() if key not in {"topic", "metadataVersion"}}
        assert EVENT["topic"] == SAMPLE_WORKSPACE, "the original is not changed"

    def test_cloud_events_keep_their_source(self, topic: CustomTopic) -> None:
        topic.is_cloud = True
        publish(topic.url, KEY, no_identity, CLOUD_EVENT)
        (event,) = topic.events
        for key in ("id", "type", "source", "subject", "data", "specversion"):
            assert event[key] == CLOUD_EVENT[key]

    def test_an_identity_over_https(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "authority.pem"))
        identity = Identity(TOKEN)
        with serving_topic(CustomTopic(is_cloud=False), certificate(tmp_path / "authority.pem")) as topic:
            publish(topic.url, "", lambda: identity, EVENT)
        assert [event["id"] for event in topic.events] == [EVENT["id"]]
        assert identity.scopes == ["https://eventgrid.azure.net/.default"]

    def test_a_temporary_failure_is_retried(self, topic: CustomTopic) -> None:
        topic.statuses.append(503)
        publish(topic.url, KEY, no_identity, EVENT)
        assert (len(topic.events), topic.answered) == (1, [503, 200])

    @pytest.mark.parametrize(
        ("key", "path", "event", "words"),
        [
            (secret("wrong"), "/api/events", EVENT, "HTTP 401: .*check the key in EVENTGRID_TOPIC_KEY"),
            (KEY, "/api/event", EVENT, "HTTP 404: .*check the topic's endpoint"),
            (KEY, "/api/events", CLOUD_EVENT, "HTTP 415: .*check that --schema is the topic's input schema"),
            (KEY, "/api/events", {"id": "x"}, "HTTP 400: .*check that --schema is the topic's input schema"),
        ],
    )
    def test_refused(self, topic: CustomTopic, key: str, path: str, event: dict[str, object], words: str) -> None:
        with pytest.raises(CommandFailed, match=words) as caught:
            publish(topic.url.replace("/api/events", path), key, no_identity, event)
        assert "\n" not in str(caught.value)
        assert leaks(str(caught.value)) == []
        assert topic.events == []

    @pytest.mark.parametrize(
        ("key", "words"),
        [
            (KEY, "no answer: ConnectionRefusedError: .*; check --topic"),
            ("", "issued no token for Event Grid: signed out; sign in with"),
        ],
    )
    def test_no_answer_or_signed_out(self, key: str, words: str) -> None:
        with pytest.raises(CommandFailed, match=words):
            publish("https://127.0.0.1:9/api/events", key, lambda: Identity(TOKEN, "signed out\nreally"), EVENT)


class TestAsAProcess:
    def test_the_key_from_the_environment(self, desk: Desk, topic: CustomTopic) -> None:
        arguments = ("send", "ModelRegistered", "--topic", topic.url, "--set", "data.modelName=m")
        desk.settings = {"EVENTGRID_TOPIC_KEY": KEY + "\n"}
        result = desk.process(*arguments)
        assert (result.code, result.err) == (0, "")
        (event,) = topic.events
        assert event["data"]["ModelName"] == "m"
        assert result.rows == [[f"ModelRegistered {event['id']}", "-", "sent", f"to {topic.url}: published"]]
        desk.settings = {"EVENTGRID_TOPIC_KEY": secret("wrong")}
        desk.process(*arguments).fails(1, "did not accept ModelRegistered")

    @pytest.mark.parametrize(
        ("schema", "source_before", "is_same"),
        [
            ("cloud", None, False),
            ("cloud", SAMPLE_WORKSPACE, True),
            ("eventgrid", SAMPLE_WORKSPACE, False),
            ("eventgrid", RESOURCE_ID, True),
        ],
    )
    def test_waiting(
        self, desk: Desk, topic: CustomTopic, schema: str, source_before: str | None, is_same: bool
    ) -> None:
        """In Event Grid's schema, the app sees the topic as the source, which changes the occurrence."""
        desk.settings = {"EVENTGRID_TOPIC_KEY": KEY}
        desk.routes(PARKING)
        if source_before is not None:
            desk.deliver(json.dumps(EVENT | {"topic": source_before}))
        topic.is_cloud = schema == "cloud"
        topic.deliver = lambda event: desk.deliver(json.dumps(event))
        arguments = ("--topic", topic.url, "--schema", schema, "--wait", "--timeout", "5s", "--json")
        result = desk.run("send", desk.file(json.dumps(EVENT)), *arguments)
        (shown,) = result.json[0]["outcomes"]
        assert (shown["route"], shown["outcome"]) == ("evaluate", "parked")
        assert (f"the parked event {EVENT['id']} is kept" in shown["reason"]) is is_same, "it takes over the key"
        (record,) = [each for each in desk.records if each.key.key == shown["key"]]
        assert (parse_event(record.entry.event).source == SAMPLE_WORKSPACE) is topic.is_cloud

    def test_waiting_until_the_timeout(self, desk: Desk, topic: CustomTopic) -> None:
        desk.settings = {"EVENTGRID_TOPIC_KEY": KEY}
        result = desk.run("send", "RunCompleted", "--topic", topic.url, "--wait", "--timeout", "1s")
        assert (result.code, result.rows[0][1:3]) == (1, ["evaluate", "nothing"])
        assert "has no record of it; check that the app uses this journal and these routes" in result.rows[0][3]
