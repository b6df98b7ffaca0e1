"""Lists the messages that the function ``resume`` could not handle, and puts them back.

The Functions host moves such a message to the queue ``<queue>-poison``.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from shared.errors import InvalidMessage
from shared.journal.records import JournalKey
from shared.resume.queue import DueQueue, key_in

_PUT_BACK: Final = "put back by an operator"


@dataclass(frozen=True, slots=True)
class PoisonMessage:
    """A message that could not be handled.

    :param at: when the host moved it; None if that is not known.
    :param handle: what the queue needs to delete the message.
    """

    text: str
    at: datetime | None = None
    handle: tuple[str, ...] = ()

    @property
    def key(self) -> JournalKey | None:
        """The record that it names; None if it names none."""
        try:
            return key_in(self.text)
        except InvalidMessage:
            return None

    @property
    def why_malformed(self) -> str:
        """Why it names no record; empty if it names one."""
        try:
            key_in(self.text)
        except InvalidMessage as exc:
            return str(exc)
        return ""

    def document(self) -> dict[str, Any]:
        """Return the message as a JSON document, with the time in ISO 8601."""
        return {
            "key": None if self.key is None else self.key.key,
            "route": None if self.key is None else self.key.route,
            "moved_at": None if self.at is None else self.at.isoformat(),
            "text": self.text,
        }


class PoisonQueue(Protocol):
    """The queue of these messages. Each method raises ResumeUnavailable if it does not answer."""

    def peek(self) -> list[PoisonMessage]:
        """Return messages without taking them, as many as the queue shows at once."""

    def count(self) -> int:
        """Return about how many messages there are."""

    def take(self) -> Iterator[PoisonMessage]:
        """Take all messages. One that is neither deleted nor released comes back after some minutes."""

    def release(self, message: PoisonMessage) -> None:
        """Let a message that was taken be seen again at once."""

    def delete(self, message: PoisonMessage) -> None:
        """Delete a message that was taken."""


def put_back(poison: PoisonQueue, queue: DueQueue) -> tuple[list[PoisonMessage], list[PoisonMessage]]:
    """Put the messages back, to be tried now. Return those that were put back, and those that name no record.

    All are taken first, because a message that is released could be taken again. If it is interrupted, a message may be
    in both queues, which does no harm.

    :raises ResumeUnavailable: a queue does not answer. What was not put back is released.
    """
    done, malformed, left = [], [], deque[PoisonMessage]()
    try:
        left.extend(poison.take())
        while left:
            if (key := left[0].key) is None:
                malformed.append(left.popleft())
                continue
            queue.put(key, timedelta(), _PUT_BACK)
            poison.delete(left[0])
            done.append(left.popleft())
    finally:
        for message in (*malformed, *left):
            poison.release(message)
    return done, malformed
