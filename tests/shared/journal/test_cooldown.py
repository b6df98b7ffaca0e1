"""A cooldown's window among many who want it: takeovers and races, one step at a time."""

from dataclasses import dataclass
from datetime import timedelta

import pytest

from shared.journal.cooldown import Cooldowns, Covered, Undecided, Window
from shared.journal.journal import Journal, Mine
from shared.journal.purge import purge
from shared.journal.records import JournalKey, Record, Selection
from tests.support.clock import ManualClock
from tests.support.journal.memory_store import MemoryStore
from tests.support.journal.wrapped_store import Meanwhile, WrappedStore
from tests.support.waits import EVENT

SIX_HOURS = Window("", timedelta(hours=6))

Entered = Covered | Undecided | None


@dataclass
class Scene:
    """Occurrences of two routes, each with a claimed record, that want their route's window."""

    store: MemoryStore
    clock: ManualClock

    @property
    def journal(self) -> Journal:
        return Journal(self.store, clock=self.clock)

    def claim(self, name: str, route: str = "route") -> Record:
        claimed = self.journal.claim(JournalKey(route, name), EVENT, self.clock() + timedelta(seconds=25))
        assert isinstance(claimed, Mine)
        return claimed.record

    def enter(self, record: Record, meanwhile: Meanwhile | None = None) -> Entered:
        store = WrappedStore(self.store, meanwhile or (lambda _, call: call))
        return Cooldowns(store, self.clock).enter(record.key, SIX_HOURS)

    def queue(self, name: str, run_id: int, route: str = "route") -> Record:
        """An occurrence that enters the window and has its run queued."""
        record = self.claim(name, route)
        assert self.enter(record) is None
        return self.journal.complete(record, run_id, "url")


@pytest.fixture
def scene(clock: ManualClock) -> Scene:
    return Scene(MemoryStore(), clock)


class TestTakeover:
    """The first holder was released, so the window is free for whoever is quickest."""

    @pytest.fixture
    def free(self, scene: Scene) -> Record:
        """The record whose window it was."""
        first = scene.claim("first")
        assert scene.enter(first) is None
        return scene.journal.release(first, "throttled")

    def test_of_two_that_see_it_free_one_has_it(self, scene: Scene, free: Record) -> None:
        slow, quick = scene.claim("slow"), scene.claim("quick")
        taken: list[Entered] = []
        meanwhile = Meanwhile("before replace", lambda: taken.append(scene.enter(quick)))
        assert isinstance(scene.enter(slow, meanwhile), Undecided)
        assert taken == [None]
        scene.journal.complete(quick, 100, "url")
        assert isinstance(scene.enter(slow), Covered)

    def test_a_holder_that_comes_back_keeps_it_from_one_that_has_seen_it_free(self, scene: Scene, free: Record) -> None:
        other = scene.claim("other")
        taken: list[Entered] = []
        meanwhile = Meanwhile("before replace", lambda: taken.append(scene.enter(scene.claim("first"))))
        assert isinstance(scene.enter(other, meanwhile), Undecided)
        assert taken == [None]

    def test_of_a_holder_that_was_suppressed(self, scene: Scene, free: Record) -> None:
        """By another window, as its route's cooldown_key was changed before it came back."""
        scene.journal.suppress(scene.claim("first"), "covered by another run")
        assert scene.enter(scene.claim("other")) is None

    def test_of_a_holder_whose_record_is_gone(self, scene: Scene, free: Record) -> None:
        scene.journal.forget(free)
        assert scene.enter(scene.claim("other")) is None

    def test_a_window_that_is_purged_between_two_steps_is_made_anew(self, scene: Scene, free: Record) -> None:
        (window,) = (record for record in scene.store.select(Selection(), 10) if record.key.route != "route")
        meanwhile = Meanwhile("before get", lambda: scene.store.delete(window))
        assert scene.enter(scene.claim("other"), meanwhile) is None


def test_a_window_is_its_routes_own(scene: Scene) -> None:
    scene.queue("a", 100)
    scene.queue("z", 100, route="second")
    assert isinstance(scene.enter(scene.claim("b")), Covered)


def test_a_window_is_purged_with_its_run(scene: Scene) -> None:
    scene.queue("a", 100)
    scene.clock.advance(91 * 86_400)
    assert purge(scene.journal, timedelta(days=90), clock=scene.clock) == 2
    assert list(scene.store.select(Selection(), 10)) == []
