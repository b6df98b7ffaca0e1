"""The resume queue in Azure Queue Storage, on Azurite and on servers that fail."""

import itertools
import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta

import pytest
from azure.storage.queue import QueueClient
from werkzeug.wrappers import Request, Response

from devstack.azurite import ACCOUNT, PUBLIC_DEVELOPMENT_KEY, Azurite
from devstack.http_server import serving
from shared.errors import ResumeUnavailable
from shared.journal.records import JournalKey
from shared.resume.azure_queue import API_VERSION, AzureQueue
from shared.resume.queue import Due, message_of
from tests.support.journal.stores import no_identity

NOW = timedelta()
LATER = timedelta(hours=1)
ONE, TWO = JournalKey("train", "ab12"), JournalKey("größe <&>", "cd34")


@pytest.fixture
def name() -> str:
    return f"q{uuid.uuid4().hex}"


@pytest.fixture
def service(queue_storage: Azurite, name: str) -> Iterator[QueueClient]:
    """The queue as the host sees it. It does not exist yet."""
    with QueueClient.from_connection_string(queue_storage.connection_string, name, api_version=API_VERSION) as client:
        yield client


@pytest.fixture
def queue(queue_storage: Azurite, name: str) -> Iterator[AzureQueue]:
    with closing(AzureQueue(queue_storage.connection_string, name, no_identity)) as opened:
        yield opened


def texts(service: QueueClient) -> list[str]:
    return [message.content for message in service.receive_messages()]


class TestOnAzurite:
    def test_the_first_message_creates_the_queue(self, queue: AzureQueue, service: QueueClient) -> None:
        assert list(queue.due(10)) == []
        queue.put(ONE, NOW, "HTTP 503")
        queue.put(TWO, NOW, "")
        assert texts(service) == [message_of(ONE, "HTTP 503"), message_of(TWO)]

    def test_a_message_never_expires(self, queue: AzureQueue, service: QueueClient) -> None:
        queue.put(ONE, NOW, "")
        assert [str(message.expires_on)[:4] for message in service.receive_messages()] == ["9999"]

    def test_a_message_is_not_visible_before_its_time(self, queue: AzureQueue, service: QueueClient) -> None:
        tickets = [queue.put(ONE, LATER, ""), queue.put(TWO, timedelta(days=30), "")]
        assert texts(service) == []
        assert [queue.move(ticket, NOW) for ticket in tickets] == [True, True]
        assert sorted(texts(service)) == sorted([message_of(ONE), message_of(TWO)])

    def test_a_moved_message_keeps_its_text(self, queue: AzureQueue, service: QueueClient) -> None:
        queue.move(queue.put(ONE, LATER, "the reason"), NOW)
        assert texts(service) == [message_of(ONE, "the reason")]

    def test_a_message_that_was_taken_can_neither_be_moved_nor_dropped(
        self, queue: AzureQueue, service: QueueClient
    ) -> None:
        ticket = queue.put(ONE, NOW, "")
        assert len(texts(service)) == 1
        assert not queue.move(ticket, NOW)
        queue.drop(ticket)
        assert service.get_queue_properties().approximate_message_count == 1

    def test_a_dropped_message_is_gone(self, queue: AzureQueue, service: QueueClient) -> None:
        ticket = queue.put(ONE, LATER, "")
        queue.drop(ticket)
        queue.drop(ticket)
        assert not queue.move(ticket, NOW)
        assert service.get_queue_properties().approximate_message_count == 0

    def test_messages_that_are_visible_are_listed(self, queue: AzureQueue, service: QueueClient) -> None:
        queue.put(ONE, NOW, "HTTP 503")
        service.send_message("not ours")
        queue.put(TWO, NOW, "")
        queue.put(TWO, LATER, "not visible")
        assert list(queue.due(100)) == [Due(ONE, None, 0, "HTTP 503"), Due(TWO, None, 0, "")]
        assert list(queue.due(1)) == [Due(ONE, None, 0, "HTTP 503")]
        assert list(queue.due(1, TWO)) == [Due(TWO, None, 0, "")]

    def test_hurrying_writes_new_messages(self, queue: AzureQueue, service: QueueClient) -> None:
        queue.put(ONE, LATER, "")
        assert queue.hurry([ONE, TWO]) == 2
        assert [json.loads(text)["key"] for text in texts(service)] == [ONE.key, TWO.key]
        assert queue.hurry() == 0

    def test_a_closed_queue_opens_again(self, queue: AzureQueue, service: QueueClient) -> None:
        queue.put(ONE, NOW, "")
        queue.close()
        queue.put(TWO, NOW, "")
        assert len(texts(service)) == 2

    def test_a_queue_that_was_deleted_is_created_again(self, queue: AzureQueue, service: QueueClient) -> None:
        ticket = queue.put(ONE, LATER, "")
        service.delete_queue()
        assert not queue.move(ticket, NOW)
        queue.put(ONE, NOW, "")
        assert texts(service) == [message_of(ONE)]

    def test_a_wrong_key_is_refused_at_once(self, queue_storage: Azurite, name: str) -> None:
        wrong = queue_storage.connection_string.replace("AccountKey=E", "AccountKey=F")
        with (
            closing(AzureQueue(wrong, name, no_identity, call_seconds=60)) as queue,
            pytest.raises(ResumeUnavailable, match=r"AuthenticationFailed.*role Storage Queue Data Contributor"),
        ):
            queue.put(ONE, NOW, "")


def connection_to(url: str) -> str:
    return f"AccountName={ACCOUNT};AccountKey={PUBLIC_DEVELOPMENT_KEY};QueueEndpoint={url}"


SENT = (
    "<QueueMessagesList><QueueMessage><MessageId>1</MessageId><PopReceipt>r</PopReceipt></QueueMessage>"
    "</QueueMessagesList>"
)
Answer = Callable[[], Response]
BUSY: Answer = lambda: Response("<Error><Code>ServerBusy</Code></Error>", 503, {"x-ms-error-code": "ServerBusy"})  # noqa: E731
DONE: Answer = lambda: Response(SENT, 201, content_type="application/xml")  # noqa: E731
NO_QUEUE: Answer = lambda: Response("", 404, {"x-ms-error-code": "QueueNotFound"})  # noqa: E731
EXISTS: Answer = lambda: Response("", 409, {"x-ms-error-code": "QueueAlreadyExists"})  # noqa: E731
PAGE: Answer = lambda: Response("<html>proxy</html>", 201, content_type="text/html")  # noqa: E731
NOTHING: Answer = lambda: Response("", 201, content_type="application/xml")  # noqa: E731
EMPTY: Answer = lambda: Response("<QueueMessagesList/>", 201, content_type="application/xml")  # noqa: E731


class TestOnServersThatFail:
    def put(self, *answers: Answer) -> int:
        """Put a message on a server that gives these answers and repeats the last. Return the number of requests."""
        requests = []
        rest = itertools.chain(answers, itertools.repeat(answers[-1]))

        def answer(request: Request) -> Response:
            requests.append(request.method)
            return next(rest)()

        with (
            serving(Request.application(answer)) as server,
            closing(AzureQueue(connection_to(server.url), "queue", no_identity, call_seconds=1)) as queue,
        ):
            queue.put(ONE, NOW, "")
        return len(requests)

    def test_a_message_is_never_visible_before_its_time(self) -> None:
        """The service takes whole seconds."""
        times: list[str] = []

        def answer(request: Request) -> Response:
            times.append(request.args["visibilitytimeout"])
            return DONE()

        with (
            serving(Request.application(answer)) as server,
            closing(AzureQueue(connection_to(server.url), "queue", no_identity)) as queue,
        ):
            queue.put(ONE, timedelta(seconds=1.2), "")
        assert times == ["2"]

    def test_an_unanswered_request_is_sent_again(self) -> None:
        assert self.put(BUSY, BUSY, DONE) == 3

    def test_another_worker_may_create_the_queue_at_the_same_time(self) -> None:
        assert self.put(NO_QUEUE, EXISTS, DONE) == 3

    @pytest.mark.parametrize("answer", [BUSY, PAGE, EMPTY, NOTHING])
    def test_anything_else_is_unavailable(self, answer: Answer) -> None:
        with pytest.raises(ResumeUnavailable, match=r"the resume queue http://.*/queue cannot be used: "):
            self.put(answer)

    def test_a_redirect_is_not_followed(self) -> None:
        """It would show the credential to another host."""
        paths: list[str] = []

        def answer(request: Request) -> Response:
            paths.append(request.path)
            return Response("", 307, {"Location": f"{request.host_url}elsewhere"}) if len(paths) == 1 else DONE()

        with (
            serving(Request.application(answer)) as server,
            closing(AzureQueue(connection_to(server.url), "queue", no_identity)) as queue,
            pytest.raises(ResumeUnavailable),
        ):
            queue.put(ONE, NOW, "")
        assert len(paths) == 1

    def test_nobody_listens(self) -> None:
        with (
            closing(AzureQueue(connection_to("http://127.0.0.1:1/x"), "q", no_identity, call_seconds=0)) as queue,
            pytest.raises(ResumeUnavailable, match="ServiceRequestError"),
        ):
            queue.due(1).__next__()

    def test_a_connection_string_that_cannot_be_used_is_not_shown(self) -> None:
        with pytest.raises(ResumeUnavailable) as caught:
            AzureQueue("AccountKey=canary", "queue", no_identity)
        assert "canary" not in str(caught.value)


def test_a_url_is_used_with_an_identity() -> None:
    with pytest.raises(AssertionError, match="asked for an identity"):
        AzureQueue("https://account.queue.core.windows.net", "queue", no_identity)
