"""The flow of a delivery: decide about the event; then claim, act and report for each route."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from time import perf_counter
from typing import Final, NamedTuple, Protocol

from shared.clock import Clock, utc_now
from shared.deciding import Verdict, decide, decide_again
from shared.errors import ClaimLost, DeliveryDeferred, JournalUnavailable, Paused, ResumeUnavailable
from shared.events.event import CANARY_TYPE, Handler, RunEnd
from shared.journal.journal import AlreadyFinal, Claimed, Journal, NotClaimable
from shared.journal.records import UNROUTED, Entry, JournalKey, Record
from shared.queueing.queueing import Queueing
from shared.routing.table import Gather, GatheredRun, Match, NoMatch, Refusal, RouteTable
from shared.telemetry import Decision, Outcome, Report, Result, delay_ms, log_decision

SET_RESUME: Final = "set RESUME_STORAGE or RESUME_STORAGE__queueServiceUri"


class Delivery(NamedTuple):
    """The decisions of one delivery, in the order of the routes."""

    decisions: tuple[Decision, ...]
    why_not: tuple[NoMatch, ...] = ()


class WaitingTasks(Protocol):
    """The tasks that wait for runs; see ``shared.waits.waits.Waits``."""

    def run_ended(
        self, end: RunEnd, entry: Entry, deadline: datetime, event_time: datetime | None
    ) -> tuple[tuple[Decision, datetime | None], ...]:
        """Record the run's final status and complete every task that waits for the run. Raises nothing.

        Returns and reports one decision for each task, and returns when a deferred one is tried again; None if the
        event must be delivered again.
        """


class Deferrals(Protocol):
    """Brings deferred records back; see ``shared.resume.deferrals``."""

    def come_again(
        self, entry: Entry, key: JournalKey, result: Result, record: Record | None = None
    ) -> datetime | None:
        """Have a deferred record taken up again. Raises nothing.

        Return when, by this process's clock; None if the event must be delivered again.
        """


class Gatherings(Protocol):
    """Counts the events of routes that gather; see ``shared.resume.gathering``."""

    def add(
        self,
        key: JournalKey,
        entry: Entry,
        gather: Gather,
        deadline: datetime,
        *,
        request_in: Callable[[GatheredRun], str],
        routes: str = "",
        mine: Record | None = None,
    ) -> Result | None:
        """Count an event. Return None if it has a record already that the caller has not claimed.

        :param request_in: returns the request for the run of a period.
        :param mine: the record that the caller has claimed.
        """

    def remind(self, occurrence: Record) -> None:
        """Make sure that the period that this event has begun will end."""


class Relay:
    """Turns events into pipeline runs. Safe for many threads. After any failure, the event can be delivered again."""

    def __init__(  # noqa: PLR0913 - its collaborators
        self,
        *,
        dispatch: Mapping[str, Handler],
        routes: RouteTable,
        journal: Journal,
        queueing: Queueing,
        waits: WaitingTasks | None = None,
        deferrals: Deferrals | None = None,
        gatherings: Gatherings | None = None,
        budget_seconds: float = 25,
        report: Report = log_decision,
        clock: Clock = utc_now,
        instance: str = "",
    ) -> None:
        """
        :param waits: None if waiting for runs is switched off.
        :param deferrals: None if deferred events come back only with Event Grid's next delivery.
        :param gatherings: None if no route can gather events, because there is no resume queue.
        :param budget_seconds: how long one delivery may take. Event Grid waits 30 s for an answer.
        :param instance: identifies this instance of the app in Azure; empty if unknown.
        """
        self._dispatch = dispatch
        self._routes = routes
        self._journal = journal
        self._queueing = queueing
        self._waits = waits
        self._deferrals = deferrals
        self._gatherings = gatherings
        self._budget = timedelta(seconds=budget_seconds)
        self._report = report
        self._clock = clock
        self._instance = instance

    def deliver(self, raw: str) -> Delivery:
        """Decide on one event and carry out the decisions.

        If this method returns, the event can be acknowledged: what is ``deferred`` comes back without it.

        :raises DeliveryDeferred: at least one outcome is ``deferred``; Event Grid must deliver the event again.
        """
        deadline = self._clock() + self._budget
        verdict = self.decide(raw)
        done = [
            self._carry_out(verdict.entry, decided, deadline, verdict.event_time, self._deferrals, may_hold=True)
            for decided in verdict.decisions
        ]
        if self._waits is not None and verdict.run_end is not None:
            done += self._waits.run_ended(verdict.run_end, verdict.entry, deadline, verdict.event_time)
        if not done:
            if verdict.entry.event_type == CANARY_TYPE:
                return self._answer_test_event(verdict.entry.event_id)
            return Delivery((self._ignore(verdict),), verdict.why_not)
        if deferred := [one for one, again in done if one.outcome is Outcome.DEFERRED and again is None]:
            raise DeliveryDeferred("; ".join(_why_deferred(decision) for decision in deferred))
        return Delivery(tuple(decision for decision, _ in done), verdict.why_not)

    def decide(self, raw: str) -> Verdict:
        """Return what this relay would do about an event, without doing it."""
        return decide(raw, self._dispatch, self._routes)

    def held_back(self, organization_url: str) -> Result | None:
        """Return the result if the organization accepts no request now, so that nothing is claimed; else None."""
        if (seconds := self._queueing.admit(organization_url)) <= 0:
            return None
        reason = f"waits because {organization_url} asked for a pause, does not answer, or accepts no faster pace"
        return Result(Outcome.DEFERRED, reason, cause=Paused.__name__, pause_seconds=seconds)

    def decide_again(self, record: Record) -> Verdict:
        """Return what this relay would do about the event of a record."""
        return decide_again(record, self._dispatch, self._routes)

    def carry_out(
        self,
        entry: Entry,
        decided: Match | Refusal,
        deadline: datetime | None = None,
        event_time: datetime | None = None,
        deferrals: Deferrals | None = None,
        known: Record | None = None,
    ) -> Decision:
        """Claim the record and act on it. A failure becomes an outcome, and the next route is still carried out.

        It does not ask whether the organization accepts requests now; see ``held_back``.

        :param deadline: when the delivery must end; by default, after the relay's whole time budget.
        :param event_time: when the event happened, if the decision is to report the delay.
        :param deferrals: brings the record back if it is deferred.
        :param known: the record as it was read, if it exists.
        """
        return self._carry_out(entry, decided, deadline, event_time, deferrals, known=known)[0]

    def _carry_out(
        self,
        entry: Entry,
        decided: Match | Refusal,
        deadline: datetime | None,
        event_time: datetime | None,
        deferrals: Deferrals | None,
        *,
        known: Record | None = None,
        may_hold: bool = False,
    ) -> tuple[Decision, datetime | None]:
        """Do so, and also return when a deferred record comes again; None if it does not."""
        started, again = perf_counter(), None
        held: tuple[Result, Record] | None = None
        try:
            if deferrals is not None and may_hold:
                held = self._hold(entry, decided)
            if held is not None:
                result, known = held
            else:
                result = self._claim_and_act(entry, decided, deadline or self._clock() + self._budget, known)
        except (JournalUnavailable, ResumeUnavailable, ClaimLost) as exc:
            result = Result.deferred(exc)
        if deferrals is not None and result.outcome is Outcome.DEFERRED:
            waits = held or (self._spread(decided, result), None)
            again = deferrals.come_again(entry, decided.key, *waits)
        decision = Decision.of(
            entry,
            result.coming_again(again),
            route=None if decided.key.route == UNROUTED else decided.key.route,
            key=decided.key.key,
            seconds=perf_counter() - started,
            delay_ms=delay_ms(event_time, self._clock()),
        )
        self._report(decision)
        return decision, again

    def _answer_test_event(self, event_id: str) -> Delivery:
        """Write down that a test event has arrived. Nothing is decided, so nothing is reported."""
        from shared.proof import write_proof  # noqa: PLC0415 - no other event needs it

        try:
            write_proof(self._journal, event_id, self._routes.digest, self._instance)
        except JournalUnavailable as exc:
            raise DeliveryDeferred(f"deferred: {exc}") from exc
        return Delivery(())

    def _ignore(self, verdict: Verdict) -> Decision:
        ignored = Result(Outcome.IGNORED, verdict.why_nothing)
        decision = Decision.of(verdict.entry, ignored, delay_ms=delay_ms(verdict.event_time, self._clock()))
        self._report(decision)
        return decision

    def _hold(self, entry: Entry, decided: Match | Refusal) -> tuple[Result, Record] | None:
        """Have a record that waits, in place of a claim, if the organization accepts no request now.

        An event that is gathered needs no request now.
        """
        if not isinstance(decided, Match) or decided.gather is not None:
            return None
        if (held := self.held_back(decided.request.organization_url)) is None:
            return None
        entry = entry._replace(request=decided.request.to_json())
        waiting = self._journal.hold(decided.key, entry, held.reason, self._routes.digest)
        return None if waiting is None else (held, waiting)

    def _spread(self, decided: Match | Refusal, result: Result) -> Result:
        """Return the result with a pause that is spread, as that of work which is held back."""
        if result.pause_seconds is None or not isinstance(decided, Match):
            return result
        seconds = self._queueing.admit(decided.request.organization_url, later=True)
        return result._replace(pause_seconds=seconds or result.pause_seconds)

    def _claim_and_act(
        self, entry: Entry, decided: Match | Refusal, deadline: datetime, known: Record | None
    ) -> Result:
        if self._clock() >= deadline:
            return Result(Outcome.DEFERRED, "no time is left: earlier routes used up the time of this delivery")
        sender = ""
        if isinstance(decided, Match):
            if decided.gather is not None:
                return self._gather(entry, decided, decided.gather, deadline)
            entry = entry._replace(request=decided.request.to_json())
            sender = self._queueing.sender()
        match self._journal.claim(decided.key, entry, deadline, sender, self._routes.digest, known):
            case AlreadyFinal(record):
                return self._already_final(record)
            case NotClaimable(reason):
                return Result(Outcome.DEFERRED, reason)
            case Claimed() as mine:
                return self._act(mine, decided, deadline)

    def _gather(self, entry: Entry, match: Match, gather: Gather, deadline: datetime) -> Result:
        """Count the event for a later run. If its record exists already, claim it first, without a request."""
        if self._gatherings is None:
            return Result(Outcome.DEFERRED, f"the route gathers events, which needs a resume queue; {SET_RESUME}")
        entry = entry._replace(request="")
        request_in, routes = partial(self._request_in, entry, match), self._routes.digest
        add = partial(self._gatherings.add, match.key, entry, gather, deadline, request_in=request_in, routes=routes)
        if (result := add()) is not None:
            return result
        match self._journal.claim(match.key, entry, deadline, routes=self._routes.digest):
            case AlreadyFinal(record):
                self._gatherings.remind(record)
                return self._already_final(record)
            case NotClaimable(reason):
                return Result(Outcome.DEFERRED, reason)
            case Claimed(record, in_doubt=False):
                return add(mine=record) or _duplicate(record)
            case Claimed() as mine:  # a run of its own may exist, from before the route gathered events
                return self._act(mine, match, deadline)

    def _request_in(self, entry: Entry, match: Match, run: GatheredRun) -> str:
        """Return the request for a period's run. It is sent if the store cuts the event: it cannot be decided again."""
        verdict = decide(entry.event, self._dispatch, self._routes, run)
        own = next((one for one in verdict.decisions if isinstance(one, Match) and one.key == run.key), match)
        return own.request.to_json()

    def _act(self, mine: Claimed, decided: Match | Refusal, deadline: datetime) -> Result:
        result = self._queueing.act(mine, decided, deadline)
        if isinstance(decided, Match):
            self._queueing.tag(mine, decided, result, deadline)
        return result

    def _already_final(self, record: Record) -> Result:
        if record.may_have_orphans:
            self._queueing.recovery.settle_orphans(record)
        return _duplicate(record)


def _why_deferred(decision: Decision) -> str:
    return f"deferred on {decision.route}: {decision.reason}" if decision.route else f"deferred: {decision.reason}"


def _duplicate(record: Record) -> Result:
    reason = f"already {record.state}" + (f": {record.reason}" if record.reason else "")
    return Result(Outcome.DUPLICATE, reason, record.run_id, record.run_url)
