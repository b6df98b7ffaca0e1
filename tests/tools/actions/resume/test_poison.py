"""Poison messages: what they say, and how they are put back."""

from datetime import UTC, datetime

import pytest

from shared.errors import ResumeUnavailable
from shared.journal.records import JournalKey
from shared.resume.queue import message_of
from tests.support.journal.memory_poison import MemoryPoison
from tests.support.journal.memory_queue import MemoryQueue
from tools.actions.resume.poison import PoisonMessage, put_back

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
KEY = JournalKey("evaluate", "ab" * 32)
GOOD = PoisonMessage(message_of(KEY), NOW)
NEWER = PoisonMessage('{"v": 2, "route": "r", "key": "k"}')
WRONG = PoisonMessage("hello")


def test_as_a_document() -> None:
    text = message_of(KEY)
    assert GOOD.document() == {"key": KEY.key, "route": "evaluate", "moved_at": NOW.isoformat(), "text": text}
    assert WRONG.document() == {"key": None, "route": None, "moved_at": None, "text": "hello"}


def test_only_messages_that_name_a_record_are_put_back() -> None:
    poison, queue = MemoryPoison([WRONG, GOOD, NEWER]), MemoryQueue(lambda: NOW)
    assert put_back(poison, queue) == ([GOOD], [WRONG, NEWER])
    assert [(due.key, due.at) for due in queue.due(10)] == [(KEY, NOW)]
    assert (poison.messages, poison.taken) == ([WRONG, NEWER], [])
    assert WRONG.why_malformed == "a message of the resume queue is not JSON: 'hello'"
    assert "a newer version of nextstage" in NEWER.why_malformed


def test_a_message_is_not_lost_if_the_queue_does_not_answer() -> None:
    poison = MemoryPoison([WRONG, GOOD, NEWER])
    with pytest.raises(ResumeUnavailable):
        put_back(poison, MemoryQueue(lambda: NOW, is_down=True))
    assert (poison.messages, poison.taken) == ([WRONG, GOOD, NEWER], [])
