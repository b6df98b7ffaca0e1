"""connect and disconnect, interrupted at each of their writes, and run again."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from azure.core.credentials import AccessToken

from tests.support.azd import Azd
from tests.support.canaries import secret
from tests.tools.azure.conftest import state
from tools.azure.connecting import Pauses, connect_all
from tools.azure.disconnecting import disconnect_all
from tools.azure.plan import Plan
from tools.azure.resource_manager import ResourceManager

GENERATED = ("principalId", "metricResourceId", "createdOn", "updatedOn")


class Identity:
    """An identity that is signed in, without a process that is asked for the token."""

    def get_token(self, *scopes: str, **options: object) -> AccessToken:
        return AccessToken(secret("token"), int(time.time()) + 3600)


class Killed(BaseException):
    """The end of the process. Nothing catches it."""


class Mortal(ResourceManager):
    """A client in a process that dies right after a request that writes was sent, before its operation has ended."""

    left = -1
    """How many requests that write it survives; negative for all."""

    def _send(self, request: Any) -> Any:
        answer = super()._send(request)
        if request.method in {"PUT", "DELETE"}:
            if self.left == 0:
                raise Killed
            self.left -= 1
        return answer


def run(azd: Azd, work: Callable[..., None], writes: int | None = None) -> bool:
    """Run the work of a command, and return whether it came to its end.

    :param writes: how many requests that write the process survives; None for all.
    """
    manager = Mortal(Identity(), azd.url, pause_seconds=0)
    manager.left = -1 if writes is None else writes
    pauses = [Pauses(0)] if work is connect_all else []
    try:
        work(manager, Plan.of(azd.environment(NEXTSTAGE_WAITS="true")), lambda line: None, *pauses)
    except Killed:
        return False
    return True


def kept(azd: Azd) -> list[tuple[str, Any]]:
    """Return all resources without what the service generates again, and without the names of roles that follow."""

    def stripped(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: stripped(each) for name, each in value.items() if name not in GENERATED}
        return value

    return sorted(
        (one["id"].rpartition("/roleAssignments/")[0] or one["id"], str(stripped(one["properties"])))
        for one in state(azd)
    )


@pytest.mark.parametrize("work", [connect_all, disconnect_all])
def test_the_second_run_comes_to_the_same_end(azd: Azd, work: Callable[..., None]) -> None:
    """With waits, so there is every kind of resource."""
    before = azd.arm.resources
    assert run(azd, connect_all)
    connected, end = azd.arm.resources, kept(azd)
    if work is disconnect_all:
        assert run(azd, disconnect_all)
        end = kept(azd)
    start = before if work is connect_all else connected
    writes = 0
    while not _interrupted(azd, start, work, writes):
        assert run(azd, work), writes
        assert kept(azd) == end, writes
        writes += 1
    assert writes >= 12


def _interrupted(azd: Azd, start: list[dict[str, Any]], work: Callable[..., None], writes: int) -> bool:
    """Put everything back to the start, and run the work in a process that dies. Return whether it did not die."""
    azd.arm.store.operations.clear()
    for one in azd.arm.resources:
        azd.arm.store.delete(one["id"])
    azd.arm.add(*start)
    return run(azd, work, writes)
