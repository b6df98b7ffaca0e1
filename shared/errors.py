"""Every error nextstage raises, named by cause.

::

    NextstageError
    ├── ConfigurationError            the app must not start
    │   ├── InvalidSettings
    │   └── InvalidRoutes
    ├── EventRefused                  the event can never succeed, and is parked
    │   ├── UnreadableEvent
    │   ├── IncompleteEvent
    │   └── RenderingRefused          a route cannot build a request from the event
    │       ├── ExpressionFailed
    │       ├── MissingValue
    │       └── UnsafeValue
    ├── AzureDevOpsError              one for each kind of answer, see shared/http/message.py
    │   ├── RequestNotSent            certain that no run was queued; the same for the next six
    │   ├── CredentialUnavailable
    │   ├── CredentialRejected
    │   ├── PermissionDenied
    │   ├── VersionNotSupported
    │   ├── Throttled
    │   │   └── Paused                Azure DevOps does not answer
    │   ├── RequestRefused            refused permanently, and parked; no run was queued
    │   └── AnswerLost                unknown whether a run was queued
    │       └── RunExists             an earlier request has queued the run, which must be found
    ├── JournalError
    │   ├── JournalUnavailable
    │   │   ├── NewerJournal          written by a newer version of nextstage
    │   │   └── UnreadableRecord
    │   │       └── NewerRecord
    │   ├── ClaimLost
    │   └── RunAlreadyOwned
    ├── InvalidWait, WaitNotVerified, AlreadyWaiting, TooManyWaits    a task cannot wait
    ├── RunStatusUnavailable          a task cannot be completed now
    ├── ResumeUnavailable             the queue of deferred records does not answer
    ├── InvalidMessage                a message of this queue does not name a record
    ├── NotificationFailed            does not affect any outcome
    └── DeliveryDeferred              the host answers 500, and Event Grid delivers the event again

The host sends the message of an exception to Event Grid, so no message may contain a secret.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

_MAX_QUOTED: Final = 300


def first_line(text: str) -> str:
    """Return the first line of another program's message, shortened and without its period, since advice follows it."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line[:_MAX_QUOTED].rstrip(". ")


class NextstageError(Exception):
    """Root of every error that nextstage raises."""


class ConfigurationError(NextstageError):
    """The app is configured wrongly and must not start."""


class InvalidSettings(ConfigurationError):
    """Application settings are missing or wrong; the message lists all of them."""


class Problem(NamedTuple):
    """One mistake in routes.yaml. ``line`` and ``column`` start at 1."""

    line: int
    column: int
    text: str
    """The wrong text, or the empty string if something is missing."""
    advice: str
    """What is wrong and, after the last semicolon, how to correct it."""

    @property
    def what(self) -> str:
        """What is wrong."""
        return self.advice.rpartition("; ")[0] or self.advice

    @property
    def suggestion(self) -> str:
        """How to correct it; empty if the advice does not say."""
        return self.advice.rpartition("; ")[2] if "; " in self.advice else ""


class InvalidRoutes(ConfigurationError):
    """routes.yaml is wrong.

    :param source: the file's name, for the message.
    :param problems: all of them, in file order.
    """

    def __init__(self, source: str, problems: Sequence[Problem]) -> None:
        self.source = source
        self.problems = tuple(sorted(problems))
        count = len(self.problems)
        lines = [f"{source} has {count} problem{'s' if count != 1 else ''}, so the app does not start:"]
        for problem in self.problems:
            shown = f" {problem.text!r}:" if problem.text else ""
            lines.append(f"  {source}:{problem.line}:{problem.column}:{shown} {problem.advice}")
        super().__init__("\n".join(lines))


class EventRefused(NextstageError):
    """The event can never succeed. It is parked with this message as the reason."""


class UnreadableEvent(EventRefused):
    """The string is not an event in either of Event Grid's schemas."""


class IncompleteEvent(EventRefused):
    """The event lacks data that its type requires; the message lists every missing field."""


class RenderingRefused(EventRefused):
    """A route cannot build a safe request from this event."""


class ExpressionFailed(RenderingRefused):
    """A condition or placeholder cannot be evaluated for this event."""


class MissingValue(RenderingRefused):
    """A placeholder yields no value, or something other than a single value."""


class UnsafeValue(RenderingRefused):
    """A rendered value could act as a script or macro in the pipeline."""


class AzureDevOpsError(NextstageError):
    """Azure DevOps did not answer with a run."""


class RequestNotSent(AzureDevOpsError):
    """The request was not sent: no connection (DNS, TCP, TLS), or no time left. No run was queued."""


class CredentialUnavailable(AzureDevOpsError):
    """There is no PAT or token to send: Key Vault or Microsoft Entra returned none."""


class CredentialRejected(AzureDevOpsError):
    """Azure DevOps asked to sign in: the PAT or token is wrong or expired. No run was queued."""


class PermissionDenied(AzureDevOpsError):
    """The identity lacks a permission, which the message names. No run was queued."""


class VersionNotSupported(AzureDevOpsError):
    """The server does not support the version of the REST API that the request names. No run was queued."""


class Throttled(AzureDevOpsError):
    """Azure DevOps asked for a pause. No run was queued.

    :param retry_after_seconds: how long to send no request to the organization.
    """

    def __init__(self, message: str, retry_after_seconds: float) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class Paused(Throttled):
    """The organization did not answer the last requests, so nothing was sent to it. No run was queued."""


class RequestRefused(AzureDevOpsError):
    """Azure DevOps refused the request permanently; the message quotes the server. No run was queued.

    :param not_found: something that the request names does not exist.
    """

    def __init__(self, message: str, *, not_found: bool = False) -> None:
        super().__init__(message)
        self.not_found = not_found


class AnswerLost(AzureDevOpsError):
    """The request was sent and its answer is unknown. A run may have been queued."""


class RunExists(AnswerLost):
    """An earlier request with the same idempotency key was carried out. Its run must be found."""


class InvalidWait(NextstageError):
    """A task's request to wait is invalid.

    :param problems: maps each wrong field to what is wrong with it.
    """

    def __init__(self, problems: Mapping[str, str]) -> None:
        self.problems = dict(problems)
        super().__init__("; ".join(f"{field} {problem}" for field, problem in self.problems.items()))


class WaitNotVerified(NextstageError):
    """Azure DevOps could not be asked whether the request comes from the task, so the wait is not kept."""


class TooManyWaits(NextstageError):
    """No more tasks of the same plan or organization may wait."""


class AlreadyWaiting(NextstageError):
    """The task already waits for another run."""


class RunStatusUnavailable(NextstageError):
    """Azure ML does not return the status of a run.

    :param is_about_run: Azure ML may well return the status of other runs.
    """

    def __init__(self, message: str, *, is_about_run: bool = False) -> None:
        super().__init__(message)
        self.is_about_run = is_about_run


class JournalError(NextstageError):
    """Root of the journal's errors."""


class JournalUnavailable(JournalError):
    """The journal's store does not answer; the message names it."""


class NewerJournal(JournalUnavailable):
    """A newer version of nextstage has upgraded the journal's file; the message says what to do."""


class UnreadableRecord(JournalUnavailable):
    """Another program has changed the record; the message names it and says what to do.

    :param route: the partition of the record.
    :param key: its key in this partition.
    """

    def __init__(self, message: str, route: str, key: str) -> None:
        super().__init__(message)
        self.route = route
        self.key = key


class NewerRecord(UnreadableRecord):
    """A newer version of nextstage wrote the record; the message names it and says what to do."""


class ClaimLost(JournalError):
    """Another delivery has taken over the record since this one last wrote it."""


class RunAlreadyOwned(JournalError):
    """The run already belongs to another record of the same route."""


class ResumeUnavailable(NextstageError):
    """The queue of deferred records does not answer; the message names it."""


class InvalidMessage(NextstageError):
    """A message of the queue of deferred records does not name a record."""


class NotificationFailed(NextstageError):
    """The topic did not accept notifications.

    :param is_transient: the same request may succeed a moment later.
    """

    def __init__(self, message: str, *, is_transient: bool) -> None:
        super().__init__(message)
        self.is_transient = is_transient


class DeliveryDeferred(NextstageError):
    """At least one outcome is ``deferred``. The host answers 500, and Event Grid delivers the event again."""
