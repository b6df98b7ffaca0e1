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


def opened(topic: CustomTopic, read_seconds: float = 4) -> Topic:
    return Topic(topic.url, KEY, no_identity, read_seconds=read_seconds)


def failure(topic: Topic) -> NotificationFailed:
    with pytest.raises(NotificationFailed) as caught:
        topic([notification()])
    assert "canary" not in str(caught.value)
    return caught.value


class TestWhatIsSent:
    def test_the_request_is_as_event_grid_wants_it(self, topic: CustomTopic, caplog: pytest.LogCaptureFixture) -> None:
        opened(topic)([notification(1), notification(2)])
        assert [record for record in caplog.records if record.levelno >= logging.WARNING] == [], "of the library"
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

    def test_an_identity_s_token_over_https_which_no_entry_of_netrc_replaces(
        self, https_topic: CustomTopic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        netrc = tmp_path / "netrc"
        netrc.write_text(f"machine 127.0.0.1 login somebody password {secret('netrc')}\n")
        monkeypatch.setenv("NETRC", str(netrc))
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


class TestAnswers:
    @pytest.mark.parametrize(
        ("status", "may_pass", "advice"),
        [
            (400, False, "check that the topic's input schema is CloudEventSchemaV1_0"),
            *((status, False, "check that NOTIFY_TOPIC_KEY is the topic's key") for status in (401, 403)),
            (404, False, "check NOTIFY_TOPIC_ENDPOINT"),
            *((status, False, "what came of the events is in the journal") for status in (302, 413)),
            *((status, True, "what came of the events is in the journal") for status in (408, 429, 500, 503)),
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

    @pytest.mark.parametrize(
        ("error", "words", "answered"),
        [
            (None, "HTTP 403: (403) planned", [403]),
            (ClientAuthenticationError("no identity here"), "no identity here", []),
        ],
    )
    def test_an_identity_without_the_role_or_a_token(
        self, https_topic: CustomTopic, error: Exception | None, words: str, answered: list[int]
    ) -> None:
        https_topic.statuses.append(403)
        failed = failure(Topic(https_topic.url, None, FakeIdentity(error)))
        assert words in str(failed)
        assert "the app's identity has the role EventGrid Data Sender" in str(failed)
        assert (failed.may_pass, https_topic.answered) == (False, answered)

    def test_nobody_is_there(self) -> None:
        with serving_topic(CustomTopic()) as gone:
            pass
        failed = failure(opened(gone))
        assert (failed.may_pass, gone.url in str(failed)) == (True, True)

    def test_an_answer_that_does_not_come(self, topic: CustomTopic) -> None:
        topic.open.clear()
        failed = failure(opened(topic, read_seconds=0.05))
        assert (failed.may_pass, "timed out" in str(failed)) == (True, True)
