"""A notification: the CloudEvent 1.0 that reports an outcome. Pure.

In CloudEvents, ``source`` and ``id`` together identify what happened, even if it is published more than once. The id is
therefore derived from the outcome, not random, and subscribers can recognize repetitions.
Source: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md
"""

from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import Any, Final, NamedTuple

from shared.journal.records import UNROUTED
from shared.telemetry import Decision, Outcome, shortened

TYPES: Final[Mapping[Outcome, str]] = {
    Outcome.QUEUED: "nextstage.run.queued",
    Outcome.PARKED: "nextstage.event.parked",
    Outcome.DEFERRED: "nextstage.delivery.deferred",
}
"""The outcomes that are published, with the type of the CloudEvent."""

DATA_FIELDS: Final = (
    *("outcome", "reason", "cause", "route", "run_id", "run_url"),
    *("event_id", "event_type", "subject", "key"),
)
"""The fields of the data, with the same names as in the log record of the decision."""

MAX_TEXT: Final = 1000
"""The maximum length of a string. With it, a notification stays below 64 KiB, which Event Grid counts as one operation.

Source: Event Grid documentation, pricing and quotas.
"""


class Notification(NamedTuple):
    """One CloudEvent. The fields have the names of the CloudEvent's attributes."""

    id: str
    source: str
    type: str
    subject: str
    time: datetime
    data: Mapping[str, Any]


def notification(decision: Decision, source: str, time: datetime) -> Notification | None:
    """Return the notification for a decision; None if its outcome is not published.

    :param source: a URI reference that identifies the app.
    :param time: when the decision was made.
    """
    if decision.outcome not in TYPES:
        return None
    fields = decision._asdict()
    return Notification(
        id=_id(decision),
        source=source,
        type=TYPES[decision.outcome],
        subject=f"routes/{decision.route or UNROUTED}/{decision.key}",
        time=time,
        data={name: shortened(fields[name], MAX_TEXT) for name in DATA_FIELDS},
    )


def subject_key(decision: Decision) -> str:
    """Return the journal's key of a decision, or a hash of the event's id if nothing could be journaled."""
    return decision.key or _hash(decision.event_id)


def _id(decision: Decision) -> str:
    """Return an id that is the same on every instance and at every attempt.

    If a record is redriven and parked again for another reason, it gets another id. A repeated deferral does not.
    """
    prefix = f"{subject_key(decision)}:{decision.outcome}"
    match decision.outcome:
        case Outcome.QUEUED:
            return f"{prefix}:{decision.run_id}"
        case Outcome.PARKED:
            return f"{prefix}:{_hash(decision.reason)[:12]}"
        case _:
            return prefix


def _hash(text: str) -> str:
    return sha256(text.encode(errors="replace")).hexdigest()
