"""The messages in a chat channel: ``infra/notifications`` and real notifications agree."""

import json
import re
from base64 import b64encode
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.notifications.notification import TYPES, notification
from shared.telemetry import Decision, Outcome
from tests.infra import bicep
from tests.infra.bicep import INFRA
from tests.infra.workflow import Workflow
from tests.support import ROOT
from tests.support.docs import section

FOLDER = INFRA / "notifications"
TEMPLATE = bicep.read("notifications/main.bicep")
CHATS = {"teams", "slack"}
PAGE = (ROOT / "docs" / "notifications.md").read_text(encoding="utf-8")

URL = "https://dev.azure.com/contoso/mlops/_build/results?buildId=4711"
# What people in the workspace may type. Here it is meant as a link, a mention, JSON, and an expression of the workflow.
TYPED = "[click](https://evil.example) <https://evil.example|click> <!channel> @{parameters('webhookUrl')} \"}"


def read(name: str) -> Any:
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def decided(outcome: Outcome, **changes: Any) -> Decision:
    known: dict[str, Any] = {
        "event_id": "event-1",
        "event_type": "Microsoft.MachineLearningServices.ModelRegistered",
        "subject": "models/credit-risk:7",
        "route": "deploy-candidate",
        "outcome": outcome,
        "key": "5d0c" * 16,
        "reason": "",
    }
    return Decision(**known | changes)


SHOWN = [
    decided(Outcome.QUEUED, run_id=4711, run_url=URL),
    decided(Outcome.PARKED, reason="HTTP 400: unexpected parameter", cause="RequestRefused"),
    decided(Outcome.PARKED, reason=TYPED, subject=TYPED),
    decided(Outcome.PARKED, event_type="", subject="", route=None, reason="the event is not JSON"),
    decided(Outcome.DEFERRED, route=None, key="", reason="the journal does not answer"),
]


def posted(chat: str, decision: Decision, *, encoded: bool = True) -> Any:
    """Return the message that the Logic App posts about a decision."""
    message = notification(decision, "/nextstage/func", datetime(2026, 11, 20, 12, tzinfo=UTC))
    assert message is not None
    text = json.dumps({"specversion": "1.0", **message._asdict()}, default=str)
    body = {"MessageId": "id", "PopReceipt": "receipt", "MessageText": b64encode(text.encode()).decode()}
    workflow = Workflow({"words": read("words")}, body if encoded else body | {"MessageText": text})
    actions = read("workflow")["actions"]
    workflow.outputs["Event"] = workflow.evaluated(actions["Event"]["inputs"])
    workflow.outputs["Facts"] = workflow.evaluated(actions["Facts"]["inputs"])
    return workflow.evaluated(read(chat))


def texts(document: Any) -> list[str]:
    """Return all texts of a message, a line of several parts as one."""
    match document:
        case {"inlines": list(parts)}:
            return ["".join(part["text"] for part in parts)]
        case dict():
            return [text for value in document.values() for text in texts(value)]
        case list():
            return [text for value in document for text in texts(value)]
        case str():
            return [document]
        case _:
            return []


def test_every_type_of_notification_has_words() -> None:
    assert set(read("words")) == set(TYPES.values())


@pytest.mark.parametrize("chat", sorted(CHATS))
@pytest.mark.parametrize("decision", SHOWN, ids=lambda decision: f"{decision.outcome}-{decision.reason[:12]}")
class TestMessages:
    def test_it_says_what_happened_on_which_route_and_what_to_do(self, chat: str, decision: Decision) -> None:
        shown, words = texts(posted(chat, decision)), read("words")[TYPES[decision.outcome]]
        assert words["title"] in shown
        assert {
            f"Route: {decision.route or 'none'}",
            f"Event: {decision.event_type.rpartition('.')[2]} {decision.subject}",
            f"Reason: {decision.reason or 'none'}",
            f"Next: {words['next'].replace('{key}', decision.key)}",
        } <= set(shown)

    def test_it_links_to_the_run_if_there_is_one(self, chat: str, decision: Decision) -> None:
        message = posted(chat, decision)
        if chat == "teams":
            (attachment,) = message["attachments"]
            links = [action["url"] for action in attachment["content"]["actions"]]
        else:
            links = re.findall(r"<(\S+)\|Open the run>", message["blocks"][-1]["text"]["text"])
        assert links == [decision.run_url] * bool(decision.run_url)

    def test_it_is_read_from_either_form_of_the_queues_message(self, chat: str, decision: Decision) -> None:
        assert posted(chat, decision, encoded=False) == posted(chat, decision)


def test_what_people_typed_is_plain_text() -> None:
    """A TextBlock of a card and Slack's mrkdwn show links and mentions; a TextRun and plain_text do not."""
    decision = decided(Outcome.PARKED, reason=TYPED, subject=TYPED)
    (attachment,) = posted("teams", decision)["attachments"]
    blocks = [block for block in attachment["content"]["body"] if block["type"] == "TextBlock"]
    message = posted("slack", decision)
    formatted = re.findall(r'"type": "mrkdwn", "text": "([^"]*)"', json.dumps(message["blocks"]))
    assert len(blocks) == len(formatted) == 1
    assert "evil" not in json.dumps([blocks, formatted, message["text"]])


def test_a_message_fits() -> None:
    """Source: Slack's reference of blocks: 150 characters in a header, 2,000 in a field, 3,000 in a section."""
    long = "x" * 1000
    message = posted("slack", decided(Outcome.PARKED, reason=long, subject=long, run_url=f"https://{long}"))
    for block in message["blocks"]:
        limit = 150 if block["type"] == "header" else 3000
        assert all(len(field["text"]) <= 2000 for field in block.get("fields", ()))
        assert len(block.get("text", {"text": ""})["text"]) <= limit


def test_the_message_is_deleted_only_after_it_was_posted() -> None:
    workflow = read("workflow")
    after = {name: action["runAfter"] for name, action in workflow["actions"].items()}
    assert after == {
        "Event": {},
        "Facts": {"Event": ["Succeeded"]},
        "Post": {"Facts": ["Succeeded"]},
        "Delete": {"Post": ["Succeeded"]},
    }
    body = {"MessageId": "a/b", "PopReceipt": "receipt"}
    parameters = {
        "storageAccount": "account",
        "queue": "queue",
        "$connections": {"azurequeues": {"connectionId": "/c"}},
    }
    deleted = Workflow(parameters, body).evaluated(workflow["actions"]["Delete"]["inputs"])
    assert deleted["path"] == "/v2/storageAccounts/account/queues/queue/messages/a%2Fb"
    assert deleted["queries"] == {"popreceipt": "receipt"}


def test_the_webhook_is_a_secret() -> None:
    workflow = read("workflow")
    assert workflow["parameters"]["webhookUrl"] == {"type": "SecureString"}
    assert workflow["actions"]["Post"]["runtimeConfiguration"]["secureData"]["properties"] == ["inputs"]
    assert re.search(r"@secure\(\)\n(?:@\w+\([^)]*\)\n)*param webhookUrl string", TEMPLATE)


def test_the_template_sets_the_parameters_of_the_workflow() -> None:
    start = TEMPLATE.index("parameters: {")
    given = bicep.object_at(TEMPLATE, TEMPLATE.index("{", start))
    assert set(given) == set(read("workflow")["parameters"])


def test_the_template_filters_by_types_and_subjects_that_exist() -> None:
    types = re.findall(r"'(nextstage\.[\w.]+)'", TEMPLATE)
    assert set(types) == {TYPES[Outcome.QUEUED], TYPES[Outcome.PARKED]}
    message = notification(SHOWN[0], "/nextstage/func", datetime(2026, 11, 20, tzinfo=UTC))
    assert message is not None
    assert message.subject.startswith("routes/deploy-candidate/")
    assert "'routes/${route}/'" in TEMPLATE


def test_each_chat_has_a_message_and_a_command() -> None:
    assert set(re.findall(r"^  (\w+): loadJsonContent", TEMPLATE, re.MULTILINE)) == CHATS
    text = section(PAGE, "Sending notifications to a chat channel")
    assert set(re.findall(r"chat=(\w+)", text)) == CHATS
    given = {name for command in re.findall(r"--parameters (.*)", text) for name in re.findall(r"(\w+)=", command)}
    required = {name for name, default in bicep.params("notifications/main.bicep").items() if default is None}
    # az asks for the secret, so that it is in no history of a shell.
    assert required - given == {"webhookUrl"}
    assert given <= set(bicep.params("notifications/main.bicep"))
