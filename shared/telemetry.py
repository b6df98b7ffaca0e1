"""One structured log record per decision, so that one query answers: what happened to this event, and why?

The record is the log message, as JSON: in Application Insights ``parse_json(message)`` gives its fields. It holds
names, ids and reasons, and never a credential.
"""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Protocol, Self

from shared.errors import NextstageError

LOGGER_NAME: Final = "nextstage.decision"
_READABLE: Final = json.JSONEncoder(ensure_ascii=False)

_log = logging.getLogger(LOGGER_NAME)


class Outcome(StrEnum):
    """What happened to an event on a route, or to a task that waits for a run."""

    QUEUED = "queued"
    DUPLICATE = "duplicate"
    SUPPRESSED = "suppressed"
    PARKED = "parked"
    DEFERRED = "deferred"
    IGNORED = "ignored"
    COMPLETED = "completed"
    CLOSED = "closed"


_LEVELS: Final = {Outcome.PARKED: logging.ERROR, Outcome.DEFERRED: logging.WARNING}


@dataclass(frozen=True, slots=True)
class Result:
    """What happened to an event on one route, or to a task that waits.

    :param reason: why, in words; empty if a run was simply queued.
    :param cause: the name of the error that led to it; empty if none did.
    """

    outcome: Outcome
    reason: str = ""
    run_id: int | None = None
    run_url: str = ""
    cause: str = ""

    @classmethod
    def deferred(cls, error: NextstageError, about: object = None) -> Self:
        """Return the result of an error that another delivery may get past.

        :param about: what the error is about, if its message does not say so.
        """
        return cls(Outcome.DEFERRED, f"{about}: {error}" if about else str(error), cause=type(error).__name__)


class EventNames(Protocol):
    """What a decision tells of its event; see ``shared.journal.records.Entry``."""

    @property
    def event_id(self) -> str:
        """The event's id."""

    @property
    def event_type(self) -> str:
        """Its full type."""

    @property
    def subject(self) -> str:
        """Its subject."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided.

    :param route: None where no route is concerned: the event is ignored or unreadable.
    :param key: the journal's key; empty where nothing was journaled.
    :param reason: why, in words; empty where a run was simply queued.
    :param duration_ms: from the start of this route's work to its outcome.
    :param cause: the name of the error in ``shared/errors.py`` that led to the outcome, for queries and alerts; empty
        where none did.
    :param delay_ms: from the event's own time to its outcome, never below zero however the clocks differ; None where
        the event tells no time or an operator sent it again.
    """

    event_id: str
    event_type: str
    subject: str
    route: str | None
    outcome: Outcome
    key: str = ""
    run_id: int | None = None
    run_url: str = ""
    reason: str = ""
    duration_ms: float = 0.0
    cause: str = ""
    delay_ms: float | None = None

    @classmethod
    def of(
        cls,
        event: EventNames,
        result: Result,
        *,
        route: str | None = None,
        key: str = "",
        seconds: float = 0.0,
        delay_ms: float | None = None,
    ) -> Self:
        """Return the decision that an event had this result.

        :param seconds: how long it took.
        """
        return cls(
            event_id=event.event_id,
            event_type=event.event_type,
            subject=event.subject,
            route=route,
            outcome=result.outcome,
            key=key,
            run_id=result.run_id,
            run_url=result.run_url,
            reason=result.reason,
            duration_ms=round(seconds * 1000, 3),
            cause=result.cause,
            delay_ms=delay_ms,
        )


def delay_ms(event_time: datetime | None, now: datetime) -> float | None:
    """``Decision.delay_ms`` of an event that happened then."""
    if event_time is None:
        return None
    return max(0.0, round((now - event_time) / timedelta(milliseconds=1), 3))


Report = Callable[[Decision], None]
"""Takes each decision as it is made."""


def log_decision(decision: Decision) -> None:
    """Write the decision to the log ``nextstage.decision``: parked as an error, deferred as a warning."""
    level = _LEVELS.get(decision.outcome, logging.INFO)
    _log.log(level, "%s", _READABLE.encode({name: getattr(decision, name) for name in decision.__slots__}))


def quieten_libraries() -> None:
    """Keep the Azure libraries' note of every single request out of the log; their warnings stay.

    The Functions runtime logs under "azure.functions"; what it says of each invocation is for Azure's support.
    """
    logging.getLogger("azure").setLevel(logging.WARNING)
    logging.getLogger("azure.functions").setLevel(logging.getLogger().level)
