"""Publishing to a custom topic with Event Grid's own library, over a socket."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from azure.core.credentials import AccessToken, TokenCredential
from azure.core.exceptions import ClientAuthenticationError

from shared.events.event import parse_event
from tests.support.canaries import leaks, secret
from tests.support.journal.stores import no_identity
from tests.support.services.event_grid_topic import KEY, TOKEN, CustomTopic, certificate, serving_topic
from tests.tools.conftest import Desk
from tools.errors import CommandFailed
from tools.events.documents import Schema, in_schema
from tools.events.samples import WORKSPACE, sample_event
from tools.events.topic import publish

PARKING = "name: evaluate\nevent: RunCompleted\npipeline: 1\nparameters: { x: '{{ data.nope }}' }"
EVENT = sample_event("RunCompleted")
CLOUD_EVENT = in_schema(EVENT, Schema.CLOUD)


class Identity:
    """A signed-in user."""

    def __init__(self) -> None:
        self.scopes: list[str] = []

    def get_token(self, *scopes: str, **options: object) -> AccessToken:
        self.scopes += scopes
        return AccessToken(TOKEN, int(time.time()) + 3600)


@pytest.fixture
def topic() -> Iterator[CustomTopic]:
    with serving_topic(CustomTopic(is_cloud=False)) as topic:
        yield topic


class TestPublish:
    def test_event_grids_schema_with_a_key(self, topic: CustomTopic) -> None:
        publish(topic.url, KEY, no_identity, EVENT)
        (event,) = topic.events
        assert event == {key: value for key, value in EVENT.items() if key not in {"topic", "metadataVersion"}}
        assert EVENT["topic"] == WORKSPACE, "what was read is not changed"

    def test_cloud_events_keep_their_source(self, topic: CustomTopic) -> None:
        topic.is_cloud = True
        publish(topic.url, KEY, no_identity, CLOUD_EVENT)
        (event,) = topic.events
        assert {key: event[key] for key in ("id", "type", "source", "subject", "data", "specversion")} == {
            key: CLOUD_EVENT[key] for key in ("id", "type", "source", "subject", "data", "specversion")
        }

    def test_an_identity_over_https(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "authority.pem"))
        identity = Identity()
        with serving_topic(CustomTopic(is_cloud=False), certificate(tmp_path / "authority.pem")) as topic:
            publish(topic.url, "", lambda: identity, EVENT)
        assert [event["id"] for event in topic.events] == [EVENT["id"]]
        assert identity.scopes == ["https://eventgrid.azure.net/.default"]

    def test_a_moment_of_weakness_is_passed_over(self, topic: CustomTopic) -> None:
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

    def test_nobody_answers(self) -> None:
        with pytest.raises(CommandFailed, match=r"no answer: ConnectionRefusedError: .*; check --topic"):
            publish("https://127.0.0.1:9/api/events", KEY, no_identity, EVENT)

    def test_no_token(self) -> None:
        class SignedOut:
            def get_token(self, *scopes: str, **options: object) -> AccessToken:
                raise ClientAuthenticationError("nobody is signed in\nreally")

        identity: TokenCredential = SignedOut()
        with pytest.raises(CommandFailed, match="gives no token for Event Grid: nobody is signed in; sign in with"):
            publish("https://127.0.0.1:9/api/events", "", lambda: identity, EVENT)


class TestAsAProcess:
    def test_the_key_from_the_environment(self, desk: Desk, topic: CustomTopic) -> None:
        desk.settings = {"EVENTGRID_TOPIC_KEY": KEY + "\n"}
        ended = desk.process("send", "ModelRegistered", "--topic", topic.url, "--set", "data.modelName=m")
        assert (ended.code, ended.err) == (0, "")
        (event,) = topic.events
        assert event["data"]["ModelName"] == "m"
        assert ended.rows == [[f"ModelRegistered {event['id']}", "-", "sent", f"to {topic.url}: published"]]

    def test_refused(self, desk: Desk, topic: CustomTopic) -> None:
        desk.settings = {"EVENTGRID_TOPIC_KEY": secret("wrong")}
        ended = desk.process("send", "ModelRegistered", "--topic", topic.url)
        assert (ended.code, ended.out, ended.err.count("\n")) == (1, "", 1)
        assert "did not take ModelRegistered" in ended.err

    @pytest.mark.parametrize("schema", Schema)
    def test_waiting(self, desk: Desk, topic: CustomTopic, schema: Schema) -> None:
        """In Event Grid's schema the source is another on arrival, and so is the journal's key."""
        desk.settings = {"EVENTGRID_TOPIC_KEY": KEY}
        desk.routes(PARKING)
        topic.is_cloud = schema is Schema.CLOUD
        topic.deliver = lambda event: desk.deliver(json.dumps(event))
        arguments = ("--topic", topic.url, "--schema", schema, "--wait", "--timeout", "5s")
        ended = desk.run("send", "RunCompleted", *arguments, "--json")
        (outcome,) = ended.json[0]["outcomes"]
        (record,) = desk.records
        assert (ended.code, outcome["outcome"], outcome["key"]) == (1, "parked", record.key.key)
        assert (parse_event(record.entry.event).source == WORKSPACE) is topic.is_cloud

    @pytest.mark.parametrize(("schema", "outcome"), [("cloud", "duplicate"), ("eventgrid", "parked")])
    def test_an_occurrence_that_came_before(self, desk: Desk, topic: CustomTopic, schema: Schema, outcome: str) -> None:
        """From another source it is another occurrence, whatever the run's id."""
        desk.settings = {"EVENTGRID_TOPIC_KEY": KEY}
        desk.routes(PARKING)
        desk.deliver(json.dumps(EVENT))
        (desk.folder / "event.json").write_text(json.dumps(EVENT))
        topic.is_cloud = schema == "cloud"
        topic.deliver = lambda event: desk.deliver(json.dumps(event))
        arguments = ("--topic", topic.url, "--schema", schema, "--wait", "--timeout", "5s")
        assert desk.run("send", desk.folder / "event.json", *arguments).rows[0][1:3] == ["evaluate", outcome]

    def test_waiting_for_what_does_not_come(self, desk: Desk, topic: CustomTopic) -> None:
        desk.settings = {"EVENTGRID_TOPIC_KEY": KEY}
        ended = desk.run("send", "RunCompleted", "--topic", topic.url, "--wait", "--timeout", "1s")
        assert (ended.code, ended.rows[0][1:3]) == (1, ["evaluate", "nothing"])
        assert "has no record of it; does the app use this journal and routes?" in ended.rows[0][3]

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["--topic", "http://topic.example/api/events"], "--topic must begin with https://"),
            (["--topic", "https://t.example/api/events", "--url", "http://127.0.0.1:1"], "are two ways; choose one"),
            (["--topic", "https://t.example/api/events", "--key", "a\nb"], "the key holds characters that no key has"),
        ],
    )
    def test_wrong_usage(self, desk: Desk, arguments: list[str], words: str) -> None:
        ended = desk.run("send", "RunCompleted", *arguments)
        assert (ended.code, ended.out) == (2, "")
        assert words in ended.err
