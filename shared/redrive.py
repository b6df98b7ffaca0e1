"""Sends again what was parked or abandoned, because an operator asked for it.

What a record's event asks for is decided anew, by the routes as they are today:

- **A run may exist** (a request was sent and its fate is not known): it is looked for first, and where it is found
  nothing is sent. This holds for parked records too, where the looking itself was refused.
- **The same key**: a parked record is reopened and claimed, so of many who redrive it at once one sends.
- **Another key**, because the route's ``once_per`` has changed, or because no route could be asked before: the event
  goes to its records of today, as if it were delivered today, and the old record goes once that is done. So what
  ``once_per`` promises today holds for redriven events too.
- **Nothing to send**, because the route is gone or no longer matches: parked again, with that reason.

Event Grid was told that a parked event is done with, so it does not deliver the event again. A redrive that is
interrupted (by a deferral, a lost answer, a crash) therefore leaves a record that ``awaits_redrive`` is true of.
"""

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from shared.deciding import Verdict
from shared.errors import ClaimLost, JournalUnavailable
from shared.journal.journal import Journal
from shared.journal.records import UNROUTED, JournalKey, Record, State
from shared.relay import Relay
from shared.routing.table import Match, Refusal
from shared.telemetry import Decision, Outcome

REDRIVABLE_STATES: Final = frozenset({State.PARKED, State.RELEASED, State.UNCERTAIN, State.CLAIMED})
"""Queued and suppressed records are done; the others can be sent again."""

_NO_RUN: Final = "redriven: no run of it is in Azure DevOps"


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What redriving a record would do.

    :param decisions: what it would ask for, in this order; a refusal would be parked again.
    :param why_nothing: why it would ask for nothing; empty otherwise.
    :param looks_first: a run may exist; where it is found, nothing is sent.
    """

    decisions: tuple[Match | Refusal, ...] = ()
    why_nothing: str = ""
    looks_first: bool = False


@dataclass(frozen=True, slots=True)
class Redriven:
    """The result of redriving one record.

    :param decisions: one, or for an event that no route could be asked about before, one for each route that wants it.
    :param reason: why nothing was done; empty otherwise.
    """

    record: Record
    decisions: tuple[Decision, ...] = ()
    reason: str = ""


def awaits_redrive(record: Record) -> bool:
    """Return whether only a redrive can finish the record: it is parked, or a redrive of it was interrupted."""
    return record.state in REDRIVABLE_STATES and any(step.state is State.PARKED for step in record.history)


def may_have_run(record: Record) -> bool:
    """Return whether a request may have queued a run that the record does not name."""
    if not record.entry.request:
        return False
    if record.state is State.PARKED:
        # Parked out of doubt: looking was refused, or a sleeper may have woken up since.
        return [step.state for step in record.history[-2:]] == [State.UNCERTAIN, State.PARKED]
    return record.state in {State.UNCERTAIN, State.CLAIMED}


def foresee(record: Record, verdict: Verdict) -> Foreseen:
    """What redriving would do. Pure.

    :param verdict: on the record's event, by the routes of today.
    """
    if not _is_redrivable(record):
        return Foreseen(why_nothing=_nothing_left(record))
    if record.key.route == UNROUTED:
        return Foreseen(tuple(_kept_under(record, decided) for decided in verdict.decisions), verdict.why_nothing)
    own = next((decided for decided in verdict.decisions if decided.key.route == record.key.route), None)
    decided = Refusal(record.key, _why_no_more(record, verdict)) if own is None else _kept_under(record, own)
    return Foreseen((decided,), looks_first=may_have_run(record))


class Redrive:
    """Sends records again, each on its own route only, as that route is today. See the module."""

    def __init__(self, relay: Relay, journal: Journal) -> None:
        self._relay = relay
        self._journal = journal

    def redrive(self, record: Record, *, look: bool = True) -> Redriven:
        """Send one record again. However often and from wherever it is called, at most one run comes of it.

        :param look: False: the operator has looked, and no run of this parked record exists.
        :raises ClaimLost: another redrive has taken the record since it was read.
        :raises JournalUnavailable: the journal does not answer.
        """
        if not _is_redrivable(record):
            return Redriven(record, reason=_nothing_left(record))
        if may_have_run(record) and (look or record.state is not State.PARKED):
            looked = self._look(record)
            if (looked.outcome, looked.reason) != (Outcome.PARKED, _NO_RUN):
                return Redriven(record, (looked,))
            record = self._parked(record.key)
        verdict = self._relay.decide(record.entry.event)
        foreseen = foresee(record, verdict)
        match foreseen.decisions:
            case (decided,) if decided.key == record.key:
                return Redriven(record, (self._send_again(record, decided),))
            case decisions:
                return Redriven(record, self._move(record, verdict, decisions))

    def _look(self, record: Record) -> Decision:
        """Find out whether a run exists; where there surely is none, the record is parked as ``_NO_RUN``."""
        opened = record
        if record.state is State.PARKED:
            opened = self._journal.doubt(record, "redriven: a run of it may exist", under_way=False)
        decision = self._relay.carry_out(opened.entry, Refusal(record.key, _NO_RUN))
        return self._settled(record, decision)

    def _send_again(self, record: Record, decided: Match | Refusal) -> Decision:
        """Ask for it under the record's own key."""
        if record.state is State.PARKED:
            self._journal.reopen(record, "redriven")
        return self._settled(record, self._relay.carry_out(record.entry, decided))

    def _move(self, record: Record, verdict: Verdict, decisions: tuple[Match | Refusal, ...]) -> tuple[Decision, ...]:
        """Ask for it under the keys of today; the record goes once nothing of its event is deferred."""
        if not decisions:
            done = self._relay.deliver(record.entry.event).decisions
        else:
            done = tuple(self._relay.carry_out(verdict.entry, decided) for decided in decisions)
        deferred = [decision.reason for decision in done if decision.outcome is Outcome.DEFERRED]
        # What follows is tidying up: should it fail, the next redrive finds duplicates and tidies up then.
        with suppress(ClaimLost, JournalUnavailable):
            if not deferred:
                self._journal.forget(record)
            elif awaits_redrive(record):
                self._journal.park(record, _deferred("; ".join(deferred)))
        return done

    def _settled(self, record: Record, decision: Decision) -> Decision:
        """Leave the record so that it is found again, and tell what it really is."""
        if decision.outcome is Outcome.DEFERRED and awaits_redrive(record):
            self._park_again(record.key, decision.reason)
        elif decision.outcome is Outcome.DUPLICATE:
            current = self._journal.get(record.key)
            if current is not None and current.state is State.PARKED:
                return replace(decision, outcome=Outcome.PARKED)
        return decision

    def _park_again(self, key: JournalKey, reason: str) -> None:
        """Park a record that is at rest: no delivery is at work on it, and no request may still be under way."""
        current = self._journal.get(key)
        if current is None or current.state not in {State.RELEASED, State.UNCERTAIN}:
            return
        if current.settled_at > current.history[-1].at:
            return
        with suppress(ClaimLost):
            self._journal.park(current, _deferred(reason))

    def _parked(self, key: JournalKey) -> Record:
        current = self._journal.get(key)
        if current is None or current.state is not State.PARKED:
            raise ClaimLost(f"the record {key.key[:12]} of route {key.route} is being redriven by another operator")
        return current


def _kept_under(record: Record, decided: Match | Refusal) -> Match | Refusal:
    """What has a request goes to its key of today; what can have none stays where it is."""
    stays = isinstance(decided, Refusal) and decided.key.route == record.key.route
    return replace(decided, key=record.key) if stays else decided


def _is_redrivable(record: Record) -> bool:
    return record.state in REDRIVABLE_STATES and record.key.is_of_event


def _nothing_left(record: Record) -> str:
    if not record.key.is_of_event:
        return "it is not an event's record; a task that waits is looked after by the timer sweep_waits"
    return f"it is {record.state}; nothing is left to do"


def _why_no_more(record: Record, verdict: Verdict) -> str:
    """Return why the record's route no longer asks for anything."""
    for why_not in verdict.why_not:
        if why_not.route == record.key.route:
            return f"redriven, but the route does not match any more: {why_not.reason}"
    for decided in verdict.decisions:
        if isinstance(decided, Refusal) and decided.key.route == UNROUTED:
            return f"redriven, but no route can be asked about the event any more: {decided.reason}"
    if verdict.why_nothing and not verdict.why_not:
        return f"redriven, but {verdict.why_nothing}"
    return "redriven, but the route is gone, or is for another type of event now"


def _deferred(reason: str) -> str:
    return f"redriven and deferred: {reason}"
