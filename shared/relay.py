"""The flow of a delivery: what the event means, which routes want it, and for each route claim and act."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import sha256
from time import perf_counter
from typing import Final

from shared.clock import Clock, utc_now
from shared.errors import ClaimLost, DeliveryDeferred, IncompleteEvent, JournalUnavailable, UnreadableEvent
from shared.events import AmlEvent, Handler, Ignored, parse_event
from shared.journal import Done, Entry, Journal, JournalKey, Mine, NotYet, Record
from shared.queueing import Queueing, Result
from shared.routing import Match, Refusal, RouteTable, WhyNot, journal_key
from shared.telemetry import Decision, Outcome, Report, log_decision

UNROUTED: Final = "$unrouted"
"""The journal's partition for events that no route could be asked about; no route can have this name."""

MAX_UNREADABLE_BYTES: Final = 64 * 1024
_MAX_REASONS_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class Delivery:
    """All that came of one delivery, in the table's order."""

    decisions: tuple[Decision, ...]
    why_not: tuple[WhyNot, ...] = ()


class Relay:
    """Carries events to pipelines. Safe for many threads; whatever fails, the next delivery may simply begin anew."""

    def __init__(
        self,
        *,
        dispatch: Mapping[str, Handler],
        routes: RouteTable,
        journal: Journal,
        queueing: Queueing,
        budget_seconds: float = 25,
        report: Report = log_decision,
        clock: Clock = utc_now,
    ) -> None:
        """:param budget_seconds: how long one delivery may take; Event Grid stops listening after 30 s."""
        self._dispatch = dispatch
        self._routes = routes
        self._journal = journal
        self._queueing = queueing
        self._budget = timedelta(seconds=budget_seconds)
        self._report = report
        self._clock = clock

    def deliver(self, raw: str) -> Delivery:
        """Decide on one event and do what follows from it.

        Returns where every route is done with the event, or has parked it: it may be acknowledged.

        :raises DeliveryDeferred: at least one route is not done; Event Grid must come again.
        """
        delivery = self._decide(raw, deadline=self._clock() + self._budget)
        deferred = [decision for decision in delivery.decisions if decision.outcome is Outcome.DEFERRED]
        if deferred:
            raise DeliveryDeferred(
                "; ".join(f"deferred on {decision.route or 'arrival'}: {decision.reason}" for decision in deferred)
            )
        return delivery

    def _decide(self, raw: str, deadline: datetime) -> Delivery:
        try:
            event = parse_event(raw)
        except UnreadableEvent as exc:
            return self._park_unreadable(raw, str(exc), deadline)
        handler = self._dispatch.get(event.type)
        if handler is None:
            return self._ignore(
                event, f"no handler for this event type; handled are {', '.join(sorted(self._dispatch))}"
            )
        try:
            meaning = handler(event)
        except IncompleteEvent as exc:
            refusal = Refusal(journal_key(UNROUTED, event.source, event.id), str(exc))
            return Delivery((self._carry_out(_entry(event), refusal, deadline),))
        if isinstance(meaning, Ignored):
            return self._ignore(event, meaning.reason)
        resolution = self._routes.resolve(event, meaning)
        if not resolution.decisions:
            return self._ignore(event, _why_nothing(event, resolution.why_not), resolution.why_not)
        decisions = [self._carry_out(_entry(event), decision, deadline) for decision in resolution.decisions]
        return Delivery(tuple(decisions), resolution.why_not)

    def _park_unreadable(self, raw: str, reason: str, deadline: datetime) -> Delivery:
        content = raw.encode(errors="backslashreplace")
        text = content[:MAX_UNREADABLE_BYTES].decode(errors="ignore")
        refusal = Refusal(JournalKey(UNROUTED, sha256(content).hexdigest()), reason)
        return Delivery((self._carry_out(Entry("", "", "", text), refusal, deadline),))

    def _ignore(self, event: AmlEvent, reason: str, why_not: tuple[WhyNot, ...] = ()) -> Delivery:
        decision = Decision(event.id, event.type, event.subject, None, Outcome.IGNORED, reason=reason)
        self._report(decision)
        return Delivery((decision,), why_not)

    def _carry_out(self, entry: Entry, decided: Match | Refusal, deadline: datetime) -> Decision:
        """Claim the record and act on it. Whatever fails becomes an outcome, so that the next route has its turn."""
        started = perf_counter()
        try:
            result = self._claim_and_act(entry, decided, deadline)
        except (JournalUnavailable, ClaimLost) as exc:
            result = Result(Outcome.DEFERRED, str(exc))
        decision = Decision(
            event_id=entry.event_id,
            event_type=entry.event_type,
            subject=entry.subject,
            route=None if decided.key.route == UNROUTED else decided.key.route,
            outcome=result.outcome,
            key=decided.key.key,
            run_id=result.run_id,
            run_url=result.run_url,
            reason=result.reason,
            duration_ms=round((perf_counter() - started) * 1000, 3),
        )
        self._report(decision)
        return decision

    def _claim_and_act(self, entry: Entry, decided: Match | Refusal, deadline: datetime) -> Result:
        if self._clock() >= deadline:
            return Result(Outcome.DEFERRED, "the time of this delivery went to the routes before this one")
        if isinstance(decided, Match):
            entry = replace(entry, request=decided.request.to_json())
        match self._journal.claim(decided.key, entry, send_by=deadline):
            case Done(record):
                return _duplicate(record)
            case NotYet(reason):
                return Result(Outcome.DEFERRED, reason)
            case Mine() as mine:
                return self._queueing.act(mine, decided, deadline)


def _entry(event: AmlEvent) -> Entry:
    return Entry(event.id, event.type, event.subject, event.raw)


def _duplicate(record: Record) -> Result:
    reason = f"{record.state} before" + (f": {record.reason}" if record.reason else "")
    return Result(Outcome.DUPLICATE, reason, record.run_id, record.run_url)


def _why_nothing(event: AmlEvent, why_not: tuple[WhyNot, ...]) -> str:
    if not why_not:
        return f"no route is for {event.name} events"
    shown = [f"{reason.route}: {reason.reason}" for reason in why_not[:_MAX_REASONS_SHOWN]]
    more = f"; and {len(why_not) - len(shown)} more" if len(why_not) > len(shown) else ""
    return "no route matches; " + "; ".join(shown) + more
