"""A resume queue in memory. It passes the same tests as the real queues."""

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count, islice

from shared.clock import Clock
from shared.errors import ResumeUnavailable
from shared.journal.records import JournalKey
from shared.resume.queue import Due, key_in, message_of


@dataclass
class Message:
    """A message that waits or is in work."""

    text: str
    at: datetime
    taken: int = 0


@dataclass
class MemoryQueue:
    """For its methods, see ``shared.resume.queue.DueQueue``.

    :param is_down: raise ResumeUnavailable.
    :param lease: for how long a message that was taken is invisible.
    :param writes: how many messages were written, moved or removed.
    """

    clock: Clock
    lease: timedelta = timedelta(minutes=10)
    is_down: bool = False
    writes: int = 0
    messages: dict[str, Message] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def put(self, key: JournalKey, after: timedelta, reason: str) -> str:
        self._write()
        ticket = str(next(self.numbers))
        self.messages[ticket] = Message(message_of(key, reason), self.clock() + after)
        return ticket

    def move(self, ticket: str, after: timedelta) -> bool:
        self._write()
        found = self.messages.get(ticket)
        if found is None or found.taken:
            return False
        found.at = self.clock() + after
        return True

    def drop(self, ticket: str) -> None:
        self._write()
        if ticket in self.messages and not self.messages[ticket].taken:
            del self.messages[ticket]

    def due(self, limit: int, key: JournalKey | None = None) -> Iterator[Due]:
        self._check()
        found = (message for message in self.messages.values() if key in {None, key_in(message.text)})
        waiting = sorted(found, key=lambda message: message.at)
        for each in islice(waiting, limit):
            yield Due(key_in(each.text), each.at, each.taken, json.loads(each.text).get("reason", ""))

    def hurry(self, keys: Collection[JournalKey] | None = None) -> int:
        self._check()
        found = [each for each in self.messages.values() if keys is None or key_in(each.text) in keys]
        for each in found:
            each.at = self.clock()
        return len(found)

    def close(self) -> None:
        pass

    def take(self) -> tuple[str, str] | None:
        """Take the earliest visible message, as the host does: return its ticket and text."""
        visible = [(each.at, ticket) for ticket, each in self.messages.items() if each.at <= self.clock()]
        if not visible:
            return None
        _, ticket = min(visible)
        message = self.messages[ticket]
        message.at, message.taken = self.clock() + self.lease, message.taken + 1
        return ticket, message.text

    def finish(self, ticket: str, taken: int | None = None) -> None:
        """Remove a message that was taken, as the host does after the function has returned.

        :param taken: how often it was taken then. If it was taken again since, it stays.
        """
        if taken is None or (ticket in self.messages and self.messages[ticket].taken == taken):
            del self.messages[ticket]

    def _write(self) -> None:
        self._check()
        self.writes += 1

    def _check(self) -> None:
        if self.is_down:
            raise ResumeUnavailable("the resume queue does not answer, says the test")
