"""What can be done with a record in each state, by value."""

import pytest

from shared.azure_devops.runs import Run
from shared.journal.records import NO_EVENT, Entry, State, Step
from tests.support.journal.records import NOW, record
from tools.actions.resume.deferred import Deferred
from tools.page.record.choices import Choices, choices

UNCLEAR = "cannot tell whether one of these runs was queued for it: 501 (https://ado/501), 502 (). If there is one, …"


@pytest.mark.parametrize("state", [State.QUEUED, State.SUPPRESSED, State.GATHERED])
def test_nothing_is_left_to_do(state: State) -> None:
    assert choices(record(state=state), None) == Choices()


def test_nothing_can_be_done_with_records_of_other_things() -> None:
    for route, key in [("$cooldown.route", "ab12"), ("$wait.1", "ab12"), ("route", "$gather.1")]:
        for state in (State.WAITING, State.UNCERTAIN):
            assert choices(record(key, route, state=state, entry=NO_EVENT), None) == Choices()


def test_a_refused_event() -> None:
    parked = record(state=State.PARKED, history=(Step(NOW, State.CLAIMED, ""), Step(NOW, State.PARKED, "refused")))
    assert choices(parked, None) == Choices(redrive=True, adopt=True)
    assert choices(parked._replace(entry=Entry("id", "type", "", "{}")), None) == Choices(redrive=True)


def test_an_event_that_may_have_a_run() -> None:
    history = (Step(NOW, State.CLAIMED, ""), Step(NOW, State.UNCERTAIN, "lost"), Step(NOW, State.PARKED, UNCLEAR))
    parked = record(state=State.PARKED, history=history, reason=UNCLEAR)
    runs = (Run(501, "https://ado/501"), Run(502, ""))
    assert choices(parked, None) == Choices(redrive=True, without_looking=True, adopt=True, candidates=runs)


@pytest.mark.parametrize("state", [State.CLAIMED, State.UNCERTAIN, State.RELEASED])
def test_a_deferred_event(state: State) -> None:
    waiting = record(state=state)
    assert choices(waiting, None) == Choices(redrive=True, adopt=True)
    assert choices(waiting, Deferred(waiting, NOW)) == Choices(redrive=True, adopt=True, try_now=True)
