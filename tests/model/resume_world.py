"""The world of the model tests of resuming: a queue whose messages come twice, early, late or not at all.

A call to the queue or to the journal may fail before or after it has done its work. A message in work comes again if
its worker dies or raises, and is set aside when it has come too often.
"""

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from shared.errors import ResumeUnavailable
from shared.journal.records import FINAL_STATES, JournalKey
from shared.relay import Deferrals
from shared.resume.deferrals import DeliveryDeferrals
from shared.resume.queue import key_in
from shared.resume.resume import Resume
from tests.model.world import LEASE, Worker, World, losing
from tests.support.fakes import Reports
from tests.support.journal.memory_queue import MemoryQueue
from tests.support.journal.wrapped_store import WrappedQueue

MAX_TAKEN: Final = 3
VISIBILITY: Final = timedelta(seconds=LEASE)
"""How long a message rests after a fault."""

CALLS: Final = ("put", "move", "drop", "insert", "replace", "get")
"""The calls to the queue and to the journal that may fail."""


@dataclass
class ReceiptQueue(MemoryQueue):
    """A queue like that of Azure: the ticket of a message can be used once, and never after somebody has taken it."""

    poison: list[str] = field(default_factory=list)
    changes: Counter[str] = field(default_factory=Counter)
    """How often each message was written, moved and taken."""

    def put(self, key: JournalKey, after: timedelta, reason: str) -> str:
        return self._ticket(super().put(key, after, reason))

    def move(self, ticket: str, after: timedelta) -> bool:
        self._check()
        if (number := self._number(ticket)) is None:
            return False
        message = self.messages[number]
        message.at = self.clock() + after
        self._ticket(number)
        return True

    def drop(self, ticket: str) -> None:
        self._check()
        if (number := self._number(ticket)) is not None:
            del self.messages[number]

    def take(self) -> tuple[str, str] | None:
        found = super().take()
        if found is None:
            return None
        number, text = found
        if self.messages[number].taken > MAX_TAKEN:
            self.poison.append(self.messages.pop(number).text)
            return None
        return self._ticket(number), text

    def taken(self, ticket: str) -> int:
        """Return how often the message in work was taken."""
        return self.messages[ticket.partition(" ")[0]].taken

    def put_back(self) -> None:
        """Put the messages that were set aside back, as an operator does."""
        for text in self.poison:
            self.put(key_in(text), timedelta(), "")
        self.poison.clear()

    def _ticket(self, number: str) -> str:
        self.changes[number] += 1
        return f"{number} {self.changes[number]}"

    def _number(self, ticket: str) -> str | None:
        """Return the number of the message if the ticket is still valid."""
        number, _, receipt = ticket.partition(" ")
        return number if number in self.messages and receipt == str(self.changes[number]) else None


@dataclass(kw_only=True)
class ResumeWorld(World):
    """A world with a queue."""

    give_up: timedelta
    queue: ReceiptQueue = field(init=False)

    def __post_init__(self) -> None:
        self.queue = ReceiptQueue(self.clock)

    def advance_to_a_message(self) -> None:
        """Let time pass until a message is visible."""
        due = min(message.at for message in self.queue.messages.values())
        self.advance(max(0.0, (due - self.clock()).total_seconds()))

    def comes_again(self, key: JournalKey) -> int:
        """Return how many messages bring a record back."""
        texts = [message.text for message in self.queue.messages.values()] + self.queue.poison
        return sum(key_in(text) == key for text in texts)

    def is_final(self, key: JournalKey) -> bool:
        record = self.store.records.get(key)
        return record is not None and record.state in FINAL_STATES


class ResumeWorker(Worker):
    """A process that also takes messages."""

    def __init__(self, world: ResumeWorld, *, has_trigger: bool) -> None:
        """:param has_trigger: whether the host takes the messages and removes them, as in Azure; else a thread does."""
        self.world = world
        self._has_trigger = has_trigger
        self.in_work: JournalKey | None = None
        """The record of the message in work, if the host has taken it for the first time."""
        super().__init__(world)
        self.resume = Resume(
            self.relay,
            self.journal,
            self.queue,
            give_up=world.give_up,
            report=Reports(),
            clock=world.clock,
            luck=lambda: 1.0,
        )

    @property
    def queue(self) -> Any:
        return WrappedQueue(self.world.queue, losing(self.pause, ResumeUnavailable))

    def begin(self, event: str) -> None:
        self.in_work = None
        super().begin(event)

    def deferrals(self, world: World) -> Deferrals:
        return DeliveryDeferrals(self.journal, self.queue, world.clock, lambda: 1.0)

    def take_up(self) -> None:
        """Take a message that is visible, and stop at the first call."""
        queue = self.world.queue
        if (taken := queue.take()) is None:
            return
        ticket, text = taken
        count = queue.taken(ticket)
        self.in_work = key_in(text) if self._has_trigger and count == 1 else None
        self.start(lambda: self.handle(text, ticket, count))

    def handle(self, text: str, ticket: str, count: int) -> None:
        """Handle a message in work, as the host or the thread of the app does."""
        queue = self.world.queue
        try:
            if self._has_trigger:
                self.resume.take_up(text, count)
            else:
                self.resume.go_on(key_in(text), ticket)
        except ResumeUnavailable:
            self._settle(lambda: queue.move(ticket, VISIBILITY))
        else:
            if self._has_trigger:
                self.pause("before the message is removed")
                self._settle(lambda: queue.drop(ticket))

    @staticmethod
    def _settle(change: Callable[[], object]) -> None:
        """Change the message in work as the host does. If that fails, it comes again later."""
        with suppress(ResumeUnavailable):
            change()
