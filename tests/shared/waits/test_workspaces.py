"""Which workspace a wait means: resource ids are compared, and a name is enough only if it is unique."""

import json

import pytest

from shared.errors import InvalidWait
from shared.journal.records import Selection
from shared.telemetry import Outcome
from shared.waits.wait import WORKSPACES_PARTITION, Wait
from tests.support.builders import WORKSPACE
from tests.support.clock import ManualClock
from tests.support.journal.memory_store import MemoryStore
from tests.support.waits import EVENT, Scene, a_request, the_end

SAME_NAME = WORKSPACE.replace("/resourceGroups/", "/resourceGroups/another-")
OTHER = WORKSPACE.replace("workspaces/ws", "workspaces/other")


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def scene(store: MemoryStore, clock: ManualClock, configured: str | None) -> Scene:
    return Scene(store, clock, workspace_id=configured)


def register(scene: Scene, workspace: str | None) -> str | None:
    """Register a task. Return the workspace of its wait."""
    return Wait.of(scene.waits.register(a_request(workspace=workspace), scene.in_seconds())).workspace


def end(scene: Scene, workspace: str) -> list[Outcome]:
    return [one.outcome for one, _ in scene.waits.run_ended(the_end(workspace=workspace), EVENT, scene.in_seconds())]


@pytest.mark.parametrize("named", [None, "ws", "WS", WORKSPACE, WORKSPACE.upper().strip("/")])
def test_a_workspace_of_the_same_name_does_not_end_the_wait(
    store: MemoryStore, clock: ManualClock, named: str | None
) -> None:
    """security.md: it did, because names were compared."""
    app = scene(store, clock, WORKSPACE)
    register(app, named)
    assert end(app, SAME_NAME) == []
    assert end(app, OTHER) == []
    assert end(app, WORKSPACE) == [Outcome.COMPLETED]


@pytest.mark.parametrize(
    ("configured", "seen", "named", "meant"),
    [
        (WORKSPACE, [], None, WORKSPACE),
        (WORKSPACE, [OTHER], None, WORKSPACE),
        (WORKSPACE, [], "Ws", WORKSPACE),
        (WORKSPACE, [OTHER, WORKSPACE], "ws", WORKSPACE),
        (WORKSPACE, [OTHER], "other", OTHER),
        (WORKSPACE, [], "other", "other"),
        (WORKSPACE, [], OTHER + "/", OTHER),
        (None, [], None, None),
        (None, [WORKSPACE, WORKSPACE.upper()], None, WORKSPACE),
        (None, [WORKSPACE], "ws", WORKSPACE),
        (None, [WORKSPACE], "other", "other"),
    ],
)
def test_the_workspace_is_known_when_the_task_registers(
    store: MemoryStore,
    clock: ManualClock,
    configured: str | None,
    seen: list[str],
    named: str | None,
    meant: str | None,
) -> None:
    for workspace in seen:
        scene(store, clock, None).waits.ends.note(the_end("another", workspace=workspace))
    assert register(scene(store, clock, configured), named) == meant


@pytest.mark.parametrize(
    ("default", "configured", "named", "meant"),
    [
        (None, [WORKSPACE], None, WORKSPACE),
        (None, [WORKSPACE, WORKSPACE.upper()], None, WORKSPACE.upper()),
        (OTHER, [WORKSPACE, OTHER], None, OTHER),
        (OTHER, [WORKSPACE], None, OTHER),
        (None, [WORKSPACE, OTHER], "other", OTHER),
    ],
)
def test_several_workspaces_are_configured(
    store: MemoryStore, clock: ManualClock, default: str | None, configured: list[str], named: str | None, meant: str
) -> None:
    app = Scene(store, clock, workspace_id=default, workspace_ids=configured)
    assert register(app, named) == meant
    end(app, WORKSPACE)
    assert list(app.journal.select(Selection(WORKSPACES_PARTITION), 10)) == [], "it is known without a record"


def test_none_of_several_workspaces_is_the_default(store: MemoryStore, clock: ManualClock) -> None:
    app = Scene(store, clock, workspace_ids=[WORKSPACE, OTHER])
    with pytest.raises(InvalidWait, match="workspace is missing, but there are several such workspaces"):
        register(app, None)


@pytest.mark.parametrize(
    ("configured", "seen", "named"),
    [(WORKSPACE, [SAME_NAME], "ws"), (None, [WORKSPACE, SAME_NAME], "ws"), (None, [WORKSPACE, OTHER], None)],
)
def test_an_ambiguous_workspace_is_refused(
    store: MemoryStore, clock: ManualClock, configured: str | None, seen: list[str], named: str | None
) -> None:
    app = scene(store, clock, configured)
    for workspace in seen:
        end(app, workspace)
    expected = r"workspace .* several such workspaces \(/subscriptions.* the resource id of one of them"
    with pytest.raises(InvalidWait, match=expected):
        register(app, named)


@pytest.mark.parametrize("named", [None, "ws"])
def test_an_unknown_workspace_is_the_first_one_that_ends_the_run(
    store: MemoryStore, clock: ManualClock, named: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    app = scene(store, clock, None)
    assert register(app, named) == named
    app.waits.ends.note(the_end("another", workspace=SAME_NAME))
    assert end(app, WORKSPACE) == [], "it is no longer clear which one is meant"
    (logged,) = caplog.messages
    assert f"is not completed although run run-1 has ended in {WORKSPACE}: several known workspaces" in logged
    caplog.clear()
    assert (end(app, OTHER), bool(caplog.messages)) == ([], named is None)
    assert register(app, WORKSPACE) == WORKSPACE


def test_a_workspace_is_written_down_once(store: MemoryStore, clock: ManualClock) -> None:
    app = scene(store, clock, WORKSPACE)
    for workspace in (WORKSPACE, OTHER, OTHER.upper()):
        end(app, workspace)
    assert len(list(store.select(Selection(WORKSPACES_PARTITION), 9))) == 1


@pytest.mark.parametrize("document", ["", "5", "[]", json.dumps(chr(0xD800) + "/ws")])
def test_an_altered_workspace_is_not_known(store: MemoryStore, clock: ManualClock, document: str) -> None:
    app = scene(store, clock, WORKSPACE)
    end(app, OTHER)
    (noted,) = store.select(Selection(WORKSPACES_PARTITION), 9)
    store.replace(noted._replace(document=document))
    assert register(app, "ws") == WORKSPACE
