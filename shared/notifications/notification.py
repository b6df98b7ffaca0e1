"""What subscribers are told of an outcome, as a CloudEvent 1.0. Pure.

CloudEvents wants ``source`` and ``id`` together to name one happening, however often it is told: so the id is made of
what happened and not drawn at random, and whoever hears it twice can tell.
Source: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md
"""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from hashlib import sha256
from typing import Any, Final, NamedTuple

from shared.journal.records import UNROUTED
from shared.telemetry import Decision, Outcome

TYPES: Final[Mapping[Outcome, str]] = {
    Outcome.QUEUED: "nextstage.run.queued",
    Outcome.PARKED: "nextstage.event.parked",
    Outcome.DEFERRED: "nextstage.delivery.deferred",
}
"""The outcomes that are told, and as what; of the others nothing follows for anybody."""

DATA_FIELDS: Final = (
    *("outcome", "reason", "cause", "route", "run_id", "run_url"),
    *("event_id", "event_type", "subject", "key"),
)
"""The fields of the data; each is called as in the decision's log record."""

MAX_TEXT: Final = 1000
"""Events may hold texts of any length. Cut to this, a notification stays below 64 KiB, which Event Grid counts as one
operation. Source: Event Grid pricing and quotas.
"""


class Notification(NamedTuple):
    """One CloudEvent; every attribute as CloudEvents names it."""

    id: str
    source: str
    type: str
    subject: str
    time: datetime
    data: Mapping[str, Any]


def notification(decision: Decision, source: str, time: datetime) -> Notification | None:
    """What to tell of a decision; None where nothing is told.

    :param source: names the app, as a URI reference.
    :param time: when it was decided.
    """
    if decision.outcome not in TYPES:
        return None
    fields = asdict(decision)
    return Notification(
        id=_id(decision),
        source=source,
        type=TYPES[decision.outcome],
        subject=f"routes/{decision.route or UNROUTED}/{decision.key}",
        time=time,
        data={name: _cut(fields[name]) for name in DATA_FIELDS},
    )


def concerned(decision: Decision) -> str:
    """Return what a decision is about: the journal's key, or a hash of the event's id if nothing could be journaled."""
    return decision.key or _hash(decision.event_id)


def _id(decision: Decision) -> str:
    """The same for the same happening, on every instance and at every try.

    A record may be parked again after it was redriven: for another reason that is news. That a delivery is deferred
    once more is none.
    """
    happening = f"{concerned(decision)}:{decision.outcome}"
    match decision.outcome:
        case Outcome.QUEUED:
            return f"{happening}:{decision.run_id}"
        case Outcome.PARKED:
            return f"{happening}:{_hash(decision.reason)[:12]}"
        case _:
            return happening


def _hash(text: str) -> str:
    return sha256(text.encode(errors="replace")).hexdigest()


def _cut(value: object) -> object:
    if isinstance(value, str) and len(value) > MAX_TEXT:
        return value[: MAX_TEXT - 3] + "..."
    return value
