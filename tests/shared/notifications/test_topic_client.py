"""Tests of Topic over HTTP and HTTPS: the request, each answer, and that no secret appears in a message."""

import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from azure.eventgrid import EventGridPublisherClient

from shared.errors import NotificationFailed
from shared.notifications.notification import Notification
from shared.notifications.topic_client import Topic
from tests.support.canaries import secret
from tests.support.journal.stores import no_identity
from tests.support.services.event_grid_topic import KEY, CustomTopic, certificate, serving_topic
from tests.support.services.managed_identity import FakeIdentity


def notification(number: int = 1) -> Notification:
    return Notification(
        id=f"ab12:queued:{number}",
        source="/nextstage/app",
        type="nextstage.run.queued",
        subject="routes/evaluate/ab12",
        time=datetime(2026, 11, 20, 12, 0, 0, 123456, UTC),
        data={"outcome": "queued", "run_id": number, "route": None, "reason": "größer"},
    )


@pytest.fixture
def https_topic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CustomTopic]:
    """A topic over HTTPS, whose certificate authority is trusted like that of a company."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "authority.pem"))
    with serving_topic(CustomTopic(), certificate(tmp_path / "authority.pem")) as topic:
        yield topic


@pytest.fixture
def topic() -> Iterator[CustomTopic]:
    with serving_topic(CustomTopic()) as topic:
        yield topic


def opened(topic: CustomTopic, read_seconds: float = 4) -> Topic:
    return Topic(topic.url, KEY, no_identity, read_seconds=read_seconds)


def failure(topic: Topic) -> NotificationFailed:
    with pytest.raises(NotificationFailed) as caught:
        topic([notification()])
    assert "canary" not in str(caught.value)
    return caught.value


class TestWhatIsSent:
    def test_the_request(self, topic: CustomTopic, caplog: pytest.LogCaptureFixture) -> None:
        opened(topic)([notification(1), notification(2)])
        assert [record for record in caplog.records if record.levelno >= logging.WARNING] == [], (
            "the library must not log warnings"
        )
        assert topic.answered == [200]
        assert [event["id"] for event in topic.events] == ["ab12:queued:1", "ab12:queued:2"]
        assert topic.events[0] == {
            "specversion": "1.0",
            "id": "ab12:queued:1",
            "source": "/nextstage/app",
            "type": "nextstage.run.queued",
            "subject": "routes/evaluate/ab12",
            "time": "2026-11-20T12:00:00.123456Z",
            "datacontenttype": "application/json",
            "data": {"outcome": "queued", "run_id": 1, "route": None, "reason": "größer"},
        }

    def test_netrc_does_not_replace_the_token_of_the_identity(
        self, https_topic: CustomTopic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        netrc = tmp_path / "netrc"
        netrc.write_text(f"machine 127.0.0.1 login somebody password {secret('netrc')}\n")
        monkeypatch.setenv("NETRC", str(netrc))
        identity = FakeIdentity()
        Topic(https_topic.url, None, identity)([notification()])
        assert https_topic.answered == [200]
        assert identity.scopes == ["https://eventgrid.azure.net/.default"]

    def test_an_unknown_certificate_authority_is_not_trusted(
        self, https_topic: CustomTopic, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("REQUESTS_CA_BUNDLE")
        assert "CERTIFICATE_VERIFY_FAILED" in str(failure(Topic(https_topic.url, None, FakeIdentity())))
        assert https_topic.answered == []

    def test_no_token_is_sent_without_encryption(self, topic: CustomTopic) -> None:
        assert "non-TLS" in str(failure(Topic(topic.url, None, FakeIdentity())))
        assert topic.answered == []


class TestAnswers:
    @pytest.mark.parametrize(
        ("status", "is_transient", "advice"),
        [
            (400, False, "check that the topic's input schema is CloudEventSchemaV1_0"),
            *((status, False, "check that NOTIFY_TOPIC_KEY is the topic's key") for status in (401, 403)),
            (404, False, "check NOTIFY_TOPIC_ENDPOINT"),
            *((status, False, "the outcomes are in the journal") for status in (302, 413)),
            *((status, True, "the outcomes are in the journal") for status in (408, 429, 500, 503)),
        ],
    )
    def test_each(self, topic: CustomTopic, status: int, is_transient: bool, advice: str) -> None:
        topic.statuses.append(status)
        topic.headers = {"Location": topic.url, "Retry-After": "3600"}
        failed = failure(opened(topic))
        assert failed.is_transient is is_transient
        assert f"the topic {topic.url} did not accept them: HTTP {status}: " in str(failed)
        assert str(failed).count("\n") == 0
        assert advice in str(failed)
        assert topic.answered == [status], "sent once: no redirect is followed, and nothing is retried here"

    @pytest.mark.parametrize(
        ("error", "words", "answered"),
        [
            (None, "HTTP 403: (403) planned", [403]),
            (ClientAuthenticationError("no identity here"), "no identity here", []),
        ],
    )
    def test_an_identity_without_the_role_or_without_a_token(
        self, https_topic: CustomTopic, error: Exception | None, words: str, answered: list[int]
    ) -> None:
        https_topic.statuses.append(403)
        failed = failure(Topic(https_topic.url, None, FakeIdentity(error)))
        assert words in str(failed)
        assert "the app's identity has the role EventGrid Data Sender" in str(failed)
        assert (failed.is_transient, https_topic.answered) == (False, answered)

    def test_a_part_of_the_key_is_not_shown_either(self, topic: CustomTopic, monkeypatch: pytest.MonkeyPatch) -> None:
        """A message is cut after 300 characters."""

        def refuse(*_events: object, **_options: object) -> None:
            raise HttpResponseError("x" * 295 + KEY)

        monkeypatch.setattr(EventGridPublisherClient, "send", refuse)
        assert f"x{KEY[:2]}" not in str(failure(opened(topic)))

    def test_no_server(self) -> None:
        with serving_topic(CustomTopic()) as gone:
            pass
        failed = failure(opened(gone))
        assert (failed.is_transient, gone.url in str(failed)) == (True, True)

    def test_no_answer(self, topic: CustomTopic) -> None:
        topic.open.clear()
        failed = failure(opened(topic, read_seconds=0.05))
        assert (failed.is_transient, "timed out" in str(failed)) == (True, True)
