"""The messages of the resume queue."""

import json

import pytest

from shared.errors import InvalidMessage
from shared.journal.records import UNROUTED, JournalKey
from shared.resume.queue import MAX_REASON, key_in, message_of


@pytest.mark.parametrize("route", ["train", "größer", UNROUTED])
@pytest.mark.parametrize("reason", ["", "HTTP 503", "é" * 1000])
def test_a_message_names_its_record(route: str, reason: str) -> None:
    assert key_in(message_of(JournalKey(route, "ab12"), reason)) == JournalKey(route, "ab12")


def test_the_form_of_a_message() -> None:
    """Messages of this version are read by later ones."""
    text = message_of(JournalKey("train", "ab12"), "x" * 1000)
    assert json.loads(text) == {"v": 1, "route": "train", "key": "ab12", "reason": "x" * MAX_REASON}
    assert message_of(JournalKey("train", "ab12")) == '{"v": 1, "route": "train", "key": "ab12"}'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is not JSON"),
        ("hello", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[1]", "does not name a record"),
        ('{"v": 1, "route": "train"}', "does not name a record"),
        ('{"v": 1, "route": "train", "key": ""}', "does not name a record"),
        ('{"v": 1, "route": 1, "key": "ab12"}', "does not name a record"),
        ('{"route": "train", "key": "ab12"}', "does not name a record"),
        ('{"v": 2, "keys": []}', "a newer version of nextstage"),
    ],
)
def test_other_messages_are_refused(text: str, words: str) -> None:
    with pytest.raises(InvalidMessage, match=words) as caught:
        key_in(text)
    assert len(str(caught.value)) < 300
