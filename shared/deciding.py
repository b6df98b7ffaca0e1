"""Decides what to do about an event. No I/O.

The app and the operator's commands call the same function. What a command explains is therefore what the app does.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from types import MappingProxyType
from typing import Final, NamedTuple

from shared.errors import IncompleteEvent, UnreadableEvent
from shared.events.event import ANY_TYPE, CANARY_TYPE, AmlEvent, Handler, Ignored, RunEnd, parse_event
from shared.journal.records import UNROUTED, Entry, JournalKey, Record
from shared.routing.table import GatheredRun, Match, NoMatch, Refusal, RouteTable, journal_key
from shared.routing.templates import Scope

MAX_UNREADABLE_BYTES: Final = 64 * 1024
_MAX_REASONS_SHOWN: Final = 5
_CANARY: Final = "it only tests the deployment: the app writes a note into the journal, and queues nothing"


class Verdict(NamedTuple):
    """What to do about an event.

    :param entry: what the journal stores about the event. The IDs are empty if the event cannot be read.
    :param decisions: to be carried out in this order. If there are none, the event is ignored.
    :param why_nothing: why the event is ignored; empty if there are decisions.
    :param why_not: the routes for this event type that do not match, with the reasons.
    :param run_end: the final status of a run, if the event reports one. Tasks may wait for it even if no route matches.
    :param event_time: when the event happened, as an aware datetime; None if the event has no time.
    :param scope: the names and values that conditions and placeholders can use; empty if no route was evaluated.
    """

    entry: Entry
    decisions: tuple[Match | Refusal, ...] = ()
    why_nothing: str = ""
    why_not: tuple[NoMatch, ...] = ()
    run_end: RunEnd | None = None
    event_time: datetime | None = None
    scope: Scope = MappingProxyType({})


def decide(
    raw: str, dispatch: Mapping[str, Handler], routes: RouteTable, gathered: GatheredRun | None = None
) -> Verdict:
    """Decide on one event. Never raises, whatever the string contains.

    :param dispatch: the handler of each event type by its name in Event Grid; ``ANY_TYPE`` has that of all others.
    :param gathered: the run for which the event was gathered last.
    """
    try:
        event = parse_event(raw)
    except UnreadableEvent as exc:
        return _unreadable(raw, exc)
    return _decide(event, dispatch, routes, gathered)


def decide_again(record: Record, dispatch: Mapping[str, Handler], routes: RouteTable) -> Verdict:
    """Decide on the event of a record, by the current routes. Never raises."""
    gathered = record.gathered
    run = None
    if gathered is not None and gathered.into == record.key.key:
        run = GatheredRun(record.key, gathered.events, gathered.since)
    return decide(record.entry.event, dispatch, routes, run)


def _decide(
    event: AmlEvent, dispatch: Mapping[str, Handler], routes: RouteTable, gathered: GatheredRun | None
) -> Verdict:
    entry = Entry(event.id, event.type, event.subject, event.raw)
    if event.type == CANARY_TYPE:
        return Verdict(entry, why_nothing=_CANARY, event_time=event.time)
    try:
        meaning = dispatch.get(event.type, dispatch[ANY_TYPE])(event)
    except IncompleteEvent as exc:
        refusal = Refusal(journal_key(UNROUTED, event.source, event.id), str(exc), type(exc).__name__)
        return Verdict(entry, (refusal,), event_time=event.time)
    if isinstance(meaning, Ignored):
        return Verdict(entry, why_nothing=meaning.reason, event_time=event.time)
    resolution = routes.resolve(event, meaning, gathered)
    why_nothing = "" if resolution.decisions else _why_nothing(event, resolution.why_not)
    return Verdict(
        entry,
        resolution.decisions,
        why_nothing,
        resolution.why_not,
        run_end=meaning.run_end,
        event_time=event.time,
        scope=resolution.scope,
    )


def _unreadable(raw: str, error: UnreadableEvent) -> Verdict:
    content = raw.encode(errors="backslashreplace")
    kept = content[:MAX_UNREADABLE_BYTES].decode(errors="ignore")
    key = JournalKey(UNROUTED, sha256(_without_layout(raw)).hexdigest())
    return Verdict(Entry("", "", "", kept), (Refusal(key, str(error), type(error).__name__),))


def _without_layout(raw: str) -> bytes:
    """Return the content of an event whatever the layout of its JSON, which depends on the Functions host."""
    try:
        return json.dumps(json.loads(raw), sort_keys=True).encode()
    except (ValueError, RecursionError):
        return raw.encode(errors="backslashreplace")


def _why_nothing(event: AmlEvent, why_not: tuple[NoMatch, ...]) -> str:
    if not why_not:
        return f"no route handles {event.name} events"
    shown = [f"{reason.route}: {reason.reason}" for reason in why_not[:_MAX_REASONS_SHOWN]]
    more = f"; and {len(why_not) - len(shown)} more" if len(why_not) > len(shown) else ""
    return "no route matches; " + "; ".join(shown) + more
