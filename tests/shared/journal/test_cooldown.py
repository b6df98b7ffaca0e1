"""Several occurrences that compete for a cooldown window: takeovers and races, step by step."""

from dataclasses import dataclass
from datetime import timedelta

import pytest

from shared.journal.cooldown import Cooldowns, Covered, Undecided, Window
from shared.journal.journal import Claimed, Journal
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
    """Occurrences of two routes, each with a claimed record, that enter their route's window."""

    store: MemoryStore
    clock: ManualClock

    @property
    def journal(self) -> Journal:
        return Journal(self.store, clock=self.clock)

    def claim(self, name: str, route: str = "route") -> Record:
        claimed = self.journal.claim(JournalKey(route, name), EVENT, self.clock() + timedelta(seconds=25))
        assert isinstance(claimed, Claimed)
        return claimed.record

    def enter(self, record: Record, meanwhile: Meanwhile | None = None) -> Entered:
        store = WrappedStore(self.store, meanwhile or (lambda _, call: call))
        return Cooldowns(store, self.clock).enter(record.key, SIX_HOURS)

    def queue(self, name: str, run_id: int, route: str = "route") -> Record:
        """Let an occurrence enter the window and queue its run."""
        record = self.claim(name, route)
        assert self.enter(record) is None
        return self.journal.complete(record, run_id, "url")


@pytest.fixture
def scene(clock: ManualClock) -> Scene:
    return Scene(MemoryStore(), clock)


class TestTakeover:
    """The first holder was released, so the next occurrence that enters gets the window."""

    @pytest.fixture
    def free(self, scene: Scene) -> Record:
        """Return the released record of the first holder."""
        first = scene.claim("first")
        assert scene.enter(first) is None
        return scene.journal.release(first, "throttled")

    def test_one_of_two_that_see_a_free_window_gets_it(self, scene: Scene, free: Record) -> None:
        slow, quick = scene.claim("slow"), scene.claim("quick")
        taken: list[Entered] = []
        meanwhile = Meanwhile("before replace", lambda: taken.append(scene.enter(quick)))
        assert isinstance(scene.enter(slow, meanwhile), Undecided)
        assert taken == [None]
        scene.journal.complete(quick, 100, "url")
        assert isinstance(scene.enter(slow), Covered)

    def test_a_returning_holder_keeps_the_window_from_another_that_saw_it_free(
        self, scene: Scene, free: Record
    ) -> None:
        other = scene.claim("other")
        taken: list[Entered] = []
        meanwhile = Meanwhile("before replace", lambda: taken.append(scene.enter(scene.claim("first"))))
        assert isinstance(scene.enter(other, meanwhile), Undecided)
        assert taken == [None]

    def test_the_window_is_free_if_the_holder_was_suppressed(self, scene: Scene, free: Record) -> None:
        """Another window suppressed the holder, because the route's ``cooldown_key`` was changed in the meantime."""
        scene.journal.suppress(scene.claim("first"), "covered by another run")
        assert scene.enter(scene.claim("other")) is None

    def test_the_window_is_free_if_the_holders_record_is_gone(self, scene: Scene, free: Record) -> None:
        scene.journal.forget(free)
        assert scene.enter(scene.claim("other")) is None

    def test_a_window_that_is_purged_between_two_steps_is_created_again(self, scene: Scene, free: Record) -> None:
        (window,) = (record for record in scene.store.select(Selection(), 10) if record.key.route != "route")
        meanwhile = Meanwhile("before get", lambda: scene.store.delete(window))
        assert scene.enter(scene.claim("other"), meanwhile) is None


def test_each_route_has_its_own_window(scene: Scene) -> None:
    scene.queue("a", 100)
    scene.queue("z", 100, route="second")
    assert isinstance(scene.enter(scene.claim("b")), Covered)


def test_a_window_is_purged_like_its_run(scene: Scene) -> None:
    scene.queue("a", 100)
    scene.clock.advance(91 * 86_400)
    assert purge(scene.journal, timedelta(days=90), clock=scene.clock) == 2
    assert list(scene.store.select(Selection(), 10)) == []


@pytest.mark.parametrize("document", ["", "a/b", "\ud800", "é", "x\x00"])
def test_a_window_that_was_altered_is_free(scene: Scene, document: str) -> None:
    """Its holder is unknown, so nothing is known that it could be covered by."""
    scene.queue("a", 1)
    (window,) = scene.store.select(Selection("$cooldown.route"), 9)
    assert scene.store.replace(window._replace(document=document)) is not None
    second = scene.claim("b")
    assert scene.enter(second) is None
    assert isinstance(scene.enter(scene.claim("c")), Undecided), "the window has a holder again"
