"""``manage.py resume`` on Azure Queue Storage, which shows no message before it is due."""

import uuid

import pytest
from azure.storage.queue import QueueClient

from devstack.azurite import Azurite
from shared.resume.azure_queue import API_VERSION
from tests.tools.conftest import Desk


@pytest.fixture
def service(desk: Desk, queue_storage: Azurite) -> QueueClient:
    """The poison queue as the host sees it."""
    name, connection = f"q{uuid.uuid4().hex}", queue_storage.connection_string
    desk.settings = {"RESUME_STORAGE": connection, "RESUME_QUEUE": name}
    return QueueClient.from_connection_string(connection, f"{name}-poison", api_version=API_VERSION)


def test_a_message_is_shown_when_it_is_due_and_can_be_put_back(desk: Desk, service: QueueClient) -> None:
    desk.deliver()
    (record,) = desk.records
    (one,) = desk.run("resume", "--json").json
    assert (one["key"], one["is_exact"]) == (record.key.key, False)
    assert desk.run("resume", "--now").rows[1][4] == "now"
    (one,) = desk.run("resume", "--json").json
    assert one["is_exact"], "the new message is visible"
    service.create_queue()
    service.send_message(f'{{"v": 1, "route": "{record.key.route}", "key": "{record.key.key}"}}')
    shown = desk.run("resume")
    assert shown.err == "1 message could not be handled; 'manage.py resume --poison' lists them\n"
    assert len(desk.run("resume", "--poison").rows) == 2
    assert desk.run("resume", "--poison", "--now").code == 0
    assert service.peek_messages() == []
