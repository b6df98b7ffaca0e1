"""The state of one emulated organization, which the endpoints read and change."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from devstack.ado.faults import FaultPlan
from devstack.ado.runs.behavior import Behavior
from devstack.ado.tasks.sender import TaskSender

if TYPE_CHECKING:
    from devstack.ado.access import Credentials
    from devstack.ado.books import Books
    from devstack.ado.declaration import Declaration


@dataclass
class State:
    """Everything that persists between requests. Any thread may change each part.

    ``identity_header`` is the value that clients of the managed identity must send.
    """

    declaration: Declaration
    credentials: Credentials
    books: Books
    identity_header: str = field(repr=False)
    behavior: Behavior = field(default_factory=Behavior)
    faults: FaultPlan = field(default_factory=FaultPlan)
    sender: TaskSender = field(default_factory=TaskSender)
