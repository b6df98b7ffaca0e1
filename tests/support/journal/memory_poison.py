"""A poison queue in memory."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from tools.actions.resume.poison import PoisonMessage


@dataclass
class MemoryPoison:
    """See ``PoisonQueue``.

    :param shown: how many messages it shows at once.
    """

    messages: list[PoisonMessage] = field(default_factory=list)
    shown: int = 2

    def peek(self) -> list[PoisonMessage]:
        return self.messages[: self.shown]

    def count(self) -> int:
        return len(self.messages)

    def take(self) -> Iterator[PoisonMessage]:
        yield from list(self.messages)

    def delete(self, message: PoisonMessage) -> None:
        self.messages.remove(message)
