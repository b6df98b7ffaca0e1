"""The queue of what is due: its interface and its messages.

A message is a hint with the key of a record. It may come late or twice, and then does no harm: the journal decides.
"""

import json
from collections.abc import Collection, Iterator
from datetime import datetime, timedelta
from typing import Final, NamedTuple, Protocol

from shared.errors import InvalidMessage
from shared.journal.records import JournalKey

SQLITE: Final = "sqlite"
"""The value of RESUME_STORAGE for a queue in the SQLite file of the journal."""

MAX_REASON: Final = 200
"""How many characters of a reason a message contains. The record has all of it."""

_VERSION: Final = 1


class Due(NamedTuple):
    """A message that waits.

    :param at: when it becomes visible; None if the queue does not tell.
    :param taken: how often it was taken without being finished, because a worker died or failed.
    """

    key: JournalKey
    at: datetime | None
    taken: int = 0
    reason: str = ""


class DueQueue(Protocol):
    """A durable queue. Its messages never expire. Each method raises ResumeUnavailable if it does not answer."""

    def put(self, key: JournalKey, after: timedelta, reason: str) -> str:
        """Write a message that becomes visible after this time, and return a ticket for ``move`` and ``drop``."""

    def move(self, ticket: str, after: timedelta) -> bool:
        """Let a message become visible after this time from now. Return False if it was taken or is gone."""

    def drop(self, ticket: str) -> None:
        """Remove a message, unless it was taken or is gone."""

    def due(self, limit: int, key: JournalKey | None = None) -> Iterator[Due]:
        """Return messages that wait, the earliest first as far as the queue can tell. For operators.

        :param key: only those of this record; None for all.
        """

    def hurry(self, keys: Collection[JournalKey] | None = None) -> int:
        """Let the messages of these records, or all, become visible now; return how many. For operators.

        A queue that cannot find messages by key writes new ones.
        """

    def close(self) -> None:
        """Close the connections that are open. The queue opens new ones when it needs them."""


def message_of(key: JournalKey, reason: str = "") -> str:
    """Return the text of a message."""
    fields = {"v": _VERSION, "route": key.route, "key": key.key}
    return json.dumps(fields | ({"reason": reason[:MAX_REASON]} if reason else {}))


def key_in(message: str) -> JournalKey:
    """Return the key in a message.

    :raises InvalidMessage: another program wrote it, or a newer version of nextstage.
    """
    try:
        fields = json.loads(message)
    except (ValueError, RecursionError) as exc:
        raise InvalidMessage(f"a message of the resume queue is not JSON: {message[:MAX_REASON]!r}") from exc
    match fields:
        case {"v": 1, "route": str(route), "key": str(key)} if route and key:
            return JournalKey(route, key)
        case {"v": int(version)} if version > _VERSION:
            raise InvalidMessage(f"a newer version of nextstage wrote this message: {message[:MAX_REASON]!r}")
    raise InvalidMessage(f"a message of the resume queue does not name a record: {message[:MAX_REASON]!r}")
