"""One structured log record per decision. A single query shows what happened to an event, and why.

The log message is the record, as JSON. In Application Insights, ``parse_json(message)`` returns its fields. It contains
names, IDs and reasons, but no credential.
"""

import json
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple, Protocol, Self

from shared.errors import NextstageError, Throttled
from shared.logs import logger

LOGGER_NAME: Final = "nextstage.decision"
MAX_LOGGED: Final = 2000
"""The maximum length of a string in a log record.

Application Insights cuts a message after 32,768 characters, and a cut record cannot be parsed.
Source: Application Insights documentation, data model of traces.
"""

_READABLE: Final = json.JSONEncoder(ensure_ascii=False)

_log = logger(LOGGER_NAME)


class Outcome(StrEnum):
    """What happened to an event on a route, or to a task that waits for a run."""

    QUEUED = "queued"
    DUPLICATE = "duplicate"
    SUPPRESSED = "suppressed"
    GATHERED = "gathered"
    PARKED = "parked"
    DEFERRED = "deferred"
    IGNORED = "ignored"
    COMPLETED = "completed"
    CLOSED = "closed"


_LEVELS: Final = {Outcome.PARKED: logging.ERROR, Outcome.DEFERRED: logging.WARNING}


class Result(NamedTuple):
    """What happened to an event on one route, or to a task that waits for a run.

    :param reason: the reason, in words; empty if a run was simply queued.
    :param cause: the name of the error that led to the outcome; empty if there was none.
    :param pause_seconds: how long to wait before it is tried again, if that is known: for example, because Azure DevOps
        has asked for a pause.
    """

    outcome: Outcome
    reason: str = ""
    run_id: int | None = None
    run_url: str = ""
    cause: str = ""
    pause_seconds: float | None = None

    @classmethod
    def deferred(cls, error: NextstageError, about: object = None) -> Self:
        """Return the result for an error that may not occur again at the next delivery.

        :param about: the subject of the error, if its message does not name it.
        """
        pause = error.retry_after_seconds if isinstance(error, Throttled) else None
        reason = f"{about}: {error}" if about else str(error)
        return cls(Outcome.DEFERRED, reason, cause=type(error).__name__, pause_seconds=pause)

    def coming_again(self, at: datetime | None) -> Self:
        """Return the result with the time at which it is tried again, if there is one, in its reason."""
        return self if at is None else self._replace(reason=f"{self.reason}; comes again at {at:%Y-%m-%d %H:%M:%S} UTC")


class EventFacts(Protocol):
    """The facts about an event that a decision contains; see ``shared.journal.records.Entry``."""

    @property
    def event_id(self) -> str:
        """The ID of the event."""

    @property
    def event_type(self) -> str:
        """The full type of the event."""

    @property
    def subject(self) -> str:
        """The subject of the event."""


class Decision(NamedTuple):
    """One decision about an event or a waiting task, as it is logged.

    :param route: None if no route is involved, because the event is ignored or unreadable.
    :param key: the key of the journal record; empty if there is none.
    :param reason: the reason, in words; empty if a run was simply queued.
    :param duration_ms: how long this route's part of the delivery took.
    :param cause: the name of the error in ``shared/errors.py`` that led to the outcome, for queries and alerts; empty
        if there was none.
    :param delay_ms: from the event's own time to its outcome, at least zero even if the clocks differ; None if the
        event has no time or was redriven.
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
        event: EventFacts,
        result: Result,
        *,
        route: str | None = None,
        key: str = "",
        seconds: float = 0.0,
        delay_ms: float | None = None,
    ) -> Self:
        """Return the decision for an event with this result.

        :param seconds: how long the work took.
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
    """Return ``Decision.delay_ms`` for an event with this time."""
    if event_time is None:
        return None
    return max(0.0, round((now - event_time) / timedelta(milliseconds=1), 3))


Report = Callable[[Decision], None]
"""A function that receives each decision as it is made."""


def log_decision(decision: Decision) -> None:
    """Write the decision to the log ``nextstage.decision``. Parked is an error, deferred a warning, the rest info."""
    level = _LEVELS.get(decision.outcome, logging.INFO)
    fields = {name: shortened(value, MAX_LOGGED) for name, value in decision._asdict().items()}
    _log.log(level, "%s", _READABLE.encode(fields))


def shortened(value: object, limit: int) -> object:
    """Return a string of at most ``limit`` characters, and any other value as it is."""
    return f"{value[: limit - 3]}..." if isinstance(value, str) and len(value) > limit else value


def silence_request_logs() -> None:
    """Stop the Azure libraries from logging every request. Their warnings stay.

    The logger "azure.functions" keeps its level: the Functions runtime uses it, and Azure support reads what it logs
    about each invocation.
    """
    logging.getLogger("azure").setLevel(logging.WARNING)
    logging.getLogger("azure.functions").setLevel(logging.getLogger().level)
