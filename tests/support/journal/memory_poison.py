"""A poison queue in memory."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from tools.actions.resume.poison import PoisonMessage


@dataclass
class MemoryPoison:
    """See ``PoisonQueue``.

    :param messages: those that are visible.
    :param shown: how many messages it shows at once.
    :param taken: those that are not visible now.
    """

    messages: list[PoisonMessage] = field(default_factory=list)
    shown: int = 2
    taken: list[PoisonMessage] = field(default_factory=list)

    def peek(self) -> list[PoisonMessage]:
        return self.messages[: self.shown]

    def count(self) -> int:
        return len(self.messages) + len(self.taken)

    def take(self) -> Iterator[PoisonMessage]:
        while self.messages:
            self.taken.append(self.messages.pop(0))
            yield self.taken[-1]

    def release(self, message: PoisonMessage) -> None:
        self.taken.remove(message)
        self.messages.append(message)

    def delete(self, message: PoisonMessage) -> None:
        self.taken.remove(message)
