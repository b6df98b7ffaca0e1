"""Pages of a list that is in memory. Pure."""

import re
from collections.abc import Sequence
from typing import Final, Generic, NamedTuple, TypeVar

SIZE: Final = 50
_NUMBER: Final = re.compile("[0-9]{1,9}")

Item = TypeVar("Item")


class Part(NamedTuple, Generic[Item]):
    """One page of a list.

    :param number: the number of the page, from 1.
    :param total: how many items the list has.
    :param first: the number of the first item, from 1.
    """

    items: Sequence[Item]
    number: int
    total: int
    first: int

    @property
    def has_more(self) -> bool:
        """Whether another page follows."""
        return self.first + len(self.items) <= self.total

    @property
    def words(self) -> str:
        """Return ``51 to 100 of 120``; empty if the page shows all."""
        return (
            ""
            if len(self.items) == self.total
            else f"{self.first} to {self.first + len(self.items) - 1} of {self.total}"
        )


def part(items: Sequence[Item], number: str | None) -> Part[Item]:
    """Return a page of a list: the nearest one that exists.

    :param number: the number of the page, as the address has it.
    """
    last = max(1, -(-len(items) // SIZE))
    wanted = int(number) if number is not None and _NUMBER.fullmatch(number) else 1
    wanted = min(max(1, wanted), last)
    begin = (wanted - 1) * SIZE
    return Part(items[begin : begin + SIZE], wanted, len(items), begin + 1)
