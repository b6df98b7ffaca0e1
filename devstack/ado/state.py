"""The state of one emulated organization: what its handlers read and change."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from devstack.ado.faults import FaultPlan
from devstack.ado.tasks.sender import TaskSender

if TYPE_CHECKING:
    from devstack.ado.access import Credentials
    from devstack.ado.books import Books
    from devstack.ado.declaration import Declaration


@dataclass(frozen=True)
class State:
    """Everything that outlasts one request; each part may be changed by any thread.

    ``identity_header`` is what a client of the managed identity must show.
    """

    declaration: Declaration
    credentials: Credentials
    books: Books
    identity_header: str = field(repr=False)
    faults: FaultPlan = field(default_factory=FaultPlan)
    sender: TaskSender = field(default_factory=TaskSender)
