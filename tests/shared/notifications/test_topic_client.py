"""The custom topic over HTTP and HTTPS: what is sent, what comes of each answer, and that nothing secret shows."""

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
from azure.core.credentials import AccessToken, TokenCredential
from azure.core.exceptions import ClientAuthenticationError

from shared.errors import NotificationFailed
from shared.notifications.notification import Notification
from shared.notifications.topic_client import Topic
from tests.support.canaries import secret
from tests.support.services.event_grid_topic import KEY, TOKEN, CustomTopic, certificate, serving_topic


def notification(number: int = 1) -> Notification:
    return Notification(
        id=f"ab12:queued:{number}",
        source="/nextstage/app",
        type="nextstage.run.queued",
        subject="routes/evaluate/ab12",
        time=datetime(2026, 11, 20, 12, 0, 0, 123456, UTC),
        data={"outcome": "queued", "run_id": number, "route": None, "reason": "größer"},
    )


@dataclass
class FakeIdentity:
    """Gives the same token each time, or fails."""

    error: Exception | None = None
    scopes: list[str] = field(default_factory=list)

    def get_token(self, *scopes: str, **_options: Any) -> AccessToken:
        self.scopes += scopes
        if self.error is not None:
            raise self.error
        return AccessToken(TOKEN, int(time.time()) + 3600)

    def __call__(self) -> TokenCredential:
        return cast("TokenCredential", self)


def no_identity() -> TokenCredential:
    raise AssertionError("there is a key, so nobody should ask for an identity")


@pytest.fixture
def https_topic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CustomTopic]:
    """A topic over HTTPS; its authority is trusted as a company's would be."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "authority.pem"))
    with serving_topic(CustomTopic(), certificate(tmp_path / "authority.pem")) as topic:
        yield topic


@pytest.fixture
def topic() -> Iterator[CustomTopic]:
    with serving_topic(CustomTopic()) as topic:
        yield topic


def opened(topic: CustomTopic, key: str | None = KEY) -> Topic:
    return Topic(topic.url, key, no_identity)


def failure(topic: Topic) -> NotificationFailed:
    with pytest.raises(NotificationFailed) as caught:
        topic([notification()])
    assert "canary" not in str(caught.value)
    return caught.value


class TestWhatIsSent:
    def test_the_request_is_as_event_grid_wants_it(self, topic: CustomTopic) -> None:
        opened(topic)([notification(1), notification(2)])
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

    def test_an_identity_over_https(self, https_topic: CustomTopic) -> None:
        identity = FakeIdentity()
        Topic(https_topic.url, None, identity)([notification()])
        assert https_topic.answered == [200]
        assert identity.scopes == ["https://eventgrid.azure.net/.default"]

    def test_a_certificate_that_nobody_vouches_for_is_not_trusted(
        self, https_topic: CustomTopic, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("REQUESTS_CA_BUNDLE")
        assert "CERTIFICATE_VERIFY_FAILED" in str(failure(Topic(https_topic.url, None, FakeIdentity())))
        assert https_topic.answered == []

    def test_no_token_is_sent_without_encryption(self, topic: CustomTopic) -> None:
        assert "non-TLS" in str(failure(Topic(topic.url, None, FakeIdentity())))
        assert topic.answered == []

    def test_no_entry_of_netrc_replaces_the_token(
        self, https_topic: CustomTopic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        netrc = tmp_path / "netrc"
        netrc.write_text(f"machine 127.0.0.1 login somebody password {secret('netrc')}\n")
        monkeypatch.setenv("NETRC", str(netrc))
        Topic(https_topic.url, None, FakeIdentity())([notification()])
        assert https_topic.answered == [200]

    def test_the_library_does_not_warn_of_how_it_is_used(
        self, topic: CustomTopic, caplog: pytest.LogCaptureFixture
    ) -> None:
        opened(topic)([notification()])
        assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


class TestAnswers:
    @pytest.mark.parametrize(
        ("status", "may_pass", "advice"),
        [
            (302, False, "what came of the events is in the journal"),
            (400, False, "check that the topic's input schema is CloudEventSchemaV1_0"),
            (401, False, "check that NOTIFY_TOPIC_KEY is the topic's key"),
            (403, False, "check that NOTIFY_TOPIC_KEY is the topic's key"),
            (404, False, "check NOTIFY_TOPIC_ENDPOINT"),
            (408, True, "what came of the events is in the journal"),
            (413, False, "what came of the events is in the journal"),
            (429, True, "what came of the events is in the journal"),
            (500, True, "what came of the events is in the journal"),
            (503, True, "what came of the events is in the journal"),
        ],
    )
    def test_each(self, topic: CustomTopic, status: int, may_pass: bool, advice: str) -> None:
        topic.statuses.append(status)
        topic.headers = {"Location": topic.url, "Retry-After": "3600"}
        failed = failure(opened(topic))
        assert failed.may_pass is may_pass
        assert f"the topic {topic.url} did not take them: HTTP {status}: " in str(failed)
        assert str(failed).count("\n") == 0
        assert advice in str(failed)
        assert topic.answered == [status], "sent once: no redirect is followed, nothing is tried again here"

    def test_a_wrong_key(self, topic: CustomTopic) -> None:
        assert "HTTP 401" in str(failure(opened(topic, secret("wrong-key"))))

    def test_an_identity_without_the_role(self, https_topic: CustomTopic) -> None:
        https_topic.statuses.append(403)
        failed = failure(Topic(https_topic.url, None, FakeIdentity()))
        assert "the app's identity has the role EventGrid Data Sender" in str(failed)

    def test_an_identity_that_gets_no_token(self, https_topic: CustomTopic) -> None:
        identity = FakeIdentity(ClientAuthenticationError("no identity here, says the test"))
        failed = failure(Topic(https_topic.url, None, identity))
        assert "no identity here, says the test" in str(failed)
        assert not failed.may_pass
        assert https_topic.answered == []

    def test_nobody_is_there(self, topic: CustomTopic) -> None:
        with serving_topic(CustomTopic()) as gone:
            pass
        failed = failure(opened(gone))
        assert failed.may_pass
        assert gone.url in str(failed)

    def test_an_answer_that_does_not_come(self, topic: CustomTopic) -> None:
        topic.open.clear()
        failed = failure(Topic(topic.url, KEY, no_identity, read_seconds=0.05))
        assert failed.may_pass
        assert "timed out" in str(failed)
