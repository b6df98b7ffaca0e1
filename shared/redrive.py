"""Redrives parked and abandoned records when an operator asks for it.

The event of a record is decided again, by the current routes:

- **A run may exist**, because the answer to a request was lost: the redrive searches for the run first. If it finds the
  run, it sends nothing. This includes records that were parked because the search was refused.
- **The key is the same:** a parked record is reopened and claimed. If several operators redrive it at once, only one of
  them sends a request.
- **The key is different**, because the route's ``once_per`` has changed, or because no route could be evaluated before:
  the event is handled under its current keys, as if it were delivered now. Then the old record is removed. The current
  ``once_per`` therefore applies to redriven events too.
- **There is nothing to send**, because the route was removed or no longer matches: the record is parked again, with
  that reason.

- **The store has cut the event:** the request that the record has is sent again, without another decision.

Event Grid does not deliver a parked event again, because the app has acknowledged it. If a redrive is interrupted by a
deferral, a lost answer or a crash, it therefore leaves a record for which ``awaits_redrive`` returns true.
"""

from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from shared.azure_devops.runs import RunRequest
from shared.deciding import Verdict
from shared.errors import ClaimLost, JournalUnavailable
from shared.journal.journal import Journal
from shared.journal.records import UNROUTED, JournalKey, Record, State, is_cut
from shared.relay import Relay
from shared.routing.table import Match, Refusal
from shared.telemetry import Decision, Outcome

REDRIVABLE_STATES: Final = frozenset({State.PARKED, State.RELEASED, State.UNCERTAIN, State.CLAIMED})
"""Records in these states can be redriven. Queued and suppressed records are finished."""

_CUT: Final = (
    "the journal has only the beginning of this event, which is too long for a record; send the original event again "
    "with 'manage.py send', which gives it a new id"
)
_NO_RUN: Final = "redriven: Azure DevOps has no run for it"


@dataclass(frozen=True, slots=True)
class RedriveForecast:
    """What redriving a record would do.

    :param decisions: what the redrive would carry out, in this order. A refusal would be parked again.
    :param why_nothing: why the redrive would do nothing; empty if there are decisions.
    :param looks_first: a run may exist, so the redrive would search for it first and send nothing if it finds it.
    """

    decisions: tuple[Match | Refusal, ...] = ()
    why_nothing: str = ""
    looks_first: bool = False


@dataclass(frozen=True, slots=True)
class Redriven:
    """The result of redriving one record.

    :param decisions: one, or several if no route could be evaluated before: one for each route that matches now.
    :param reason: why nothing was done; empty if there are decisions.
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
        # Parked while uncertain: the search was refused, or a frozen worker may have continued since.
        return [step.state for step in record.history[-2:]] == [State.UNCERTAIN, State.PARKED]
    return record.state in {State.UNCERTAIN, State.CLAIMED}


def forecast_redrive(record: Record, verdict: Verdict) -> RedriveForecast:
    """Return what redriving the record would do. No I/O.

    :param verdict: the decision about the record's event, by the current routes.
    """
    if not _is_redrivable(record):
        return RedriveForecast(why_nothing=_nothing_left(record))
    if is_cut(record.entry.event):
        return RedriveForecast((_stored(record),), looks_first=may_have_run(record))
    if record.key.route == UNROUTED:
        return RedriveForecast(tuple(_with_key(record, decided) for decided in verdict.decisions), verdict.why_nothing)
    own = next((decided for decided in verdict.decisions if decided.key.route == record.key.route), None)
    decided = Refusal(record.key, _why_no_longer(record, verdict)) if own is None else _with_key(record, own)
    return RedriveForecast((decided,), looks_first=may_have_run(record))


class Redrive:
    """Redrives records, each on its own route only. See the module docstring."""

    def __init__(self, relay: Relay, journal: Journal) -> None:
        self._relay = relay
        self._journal = journal

    def redrive(self, record: Record, *, look: bool = True) -> Redriven:
        """Redrive one record. Repeated or simultaneous calls queue at most one run.

        :param look: False if the operator has checked that this parked record has no run; the search is skipped.
        :raises ClaimLost: another redrive has changed the record since it was read.
        :raises JournalUnavailable: the journal does not answer.
        """
        if not _is_redrivable(record):
            return Redriven(record, reason=_nothing_left(record))
        if may_have_run(record) and (look or record.state is not State.PARKED):
            searched = self._search(record)
            if (searched.outcome, searched.reason) != (Outcome.PARKED, _NO_RUN):
                return Redriven(record, (searched,))
            record = self._parked(record.key)
        verdict = self._relay.decide_again(record)
        foreseen = forecast_redrive(record, verdict)
        match foreseen.decisions:
            case (decided,) if decided.key == record.key:
                return Redriven(record, (self._send_again(record, decided),))
            case decisions:
                return Redriven(record, self._move(record, verdict, decisions))

    def _search(self, record: Record) -> Decision:
        """Search for the run. If it is certain that there is none, park the record with the reason ``_NO_RUN``."""
        opened = record
        if record.state is State.PARKED:
            opened = self._journal.mark_uncertain(record, "redriven: a run may exist", in_progress=False)
        decision = self._relay.carry_out(opened.entry, Refusal(record.key, _NO_RUN))
        return self._after_attempt(record, decision)

    def _send_again(self, record: Record, decided: Match | Refusal) -> Decision:
        """Carry out the decision under the record's own key."""
        if record.state is State.PARKED:
            self._journal.reopen(record, "redriven")
        return self._after_attempt(record, self._relay.carry_out(record.entry, decided))

    def _move(self, record: Record, verdict: Verdict, decisions: tuple[Match | Refusal, ...]) -> tuple[Decision, ...]:
        """Carry out the decisions under their current keys. Remove the record unless one of them is deferred."""
        if not decisions:
            done = self._relay.deliver(record.entry.event).decisions
        else:
            done = tuple(self._relay.carry_out(verdict.entry, decided) for decided in decisions)
        deferred = [decision.reason for decision in done if decision.outcome is Outcome.DEFERRED]
        # The rest is cleanup. If it fails, the next redrive finds duplicates and cleans up.
        with suppress(ClaimLost, JournalUnavailable):
            if not deferred:
                self._journal.forget(record)
            elif awaits_redrive(record):
                self._journal.park(record, _deferred("; ".join(deferred)))
        return done

    def _after_attempt(self, record: Record, decision: Decision) -> Decision:
        """Park a deferred record again, and return the decision with the record's actual outcome."""
        if decision.outcome is Outcome.DEFERRED and awaits_redrive(record):
            self._park_again(record.key, decision.reason)
        elif decision.outcome is Outcome.DUPLICATE:
            current = self._journal.get(record.key)
            if current is not None and current.state is State.PARKED:
                return decision._replace(outcome=Outcome.PARKED)
        return decision

    def _park_again(self, key: JournalKey, reason: str) -> None:
        """Park the record, unless a delivery is working on it or a lost request may still be in progress."""
        current = self._journal.get(key)
        if current is None or current.state not in {State.RELEASED, State.UNCERTAIN}:
            return
        if max(current.settled_at, current.lease_until) > current.changed_at:
            return
        with suppress(ClaimLost):
            self._journal.park(current, _deferred(reason))

    def _parked(self, key: JournalKey) -> Record:
        current = self._journal.get(key)
        if current is None or current.state is not State.PARKED:
            raise ClaimLost(f"the record {key.key[:12]} of route {key.route} is being redriven by another operator")
        return current


def _with_key(record: Record, decided: Match | Refusal) -> Match | Refusal:
    """Return the decision with its current key; a refusal by the record's own route keeps the record's key."""
    stays = isinstance(decided, Refusal) and decided.key.route == record.key.route
    return decided._replace(key=record.key) if stays else decided


def _is_redrivable(record: Record) -> bool:
    return record.state in REDRIVABLE_STATES and record.key.is_about_event


def _nothing_left(record: Record) -> str:
    if not record.key.is_about_event:
        return "it is not about an event; the timer sweep_waits takes care of waiting tasks"
    return f"it is {record.state}; nothing is left to do"


def _stored(record: Record) -> Match | Refusal:
    """Return the request that the record has. Its event was cut, so it cannot be decided again."""
    try:
        return Match(record.key, RunRequest.from_json(record.entry.request))
    except ValueError:  # there is none, or it was cut too
        return Refusal(record.key, _CUT)


def _why_no_longer(record: Record, verdict: Verdict) -> str:
    """Return why the record's route no longer matches the event."""
    for why_not in verdict.why_not:
        if why_not.route == record.key.route:
            return f"tried again, but the route no longer matches: {why_not.reason}"
    for decided in verdict.decisions:
        if isinstance(decided, Refusal) and decided.key.route == UNROUTED:
            return f"tried again, but the routes can no longer be evaluated for the event: {decided.reason}"
    if verdict.why_nothing and not verdict.why_not:
        return f"tried again, but {verdict.why_nothing}"
    return "tried again, but the route was removed, or now handles another event type"


def _deferred(reason: str) -> str:
    return f"redriven and deferred: {reason}"
