"""Every error nextstage raises, named by cause.

::

    NextstageError
    ├── ConfigurationError            the app must not start
    │   ├── InvalidSettings
    │   └── InvalidRoutes
    ├── EventRefused                  the event can never succeed as it is: it is parked
    │   ├── UnreadableEvent
    │   ├── IncompleteEvent
    │   └── RenderingRefused          a route cannot make a request of it
    │       ├── ExpressionFailed
    │       ├── MissingValue
    │       └── UnsafeValue
    ├── AzureDevOpsError              one per kind of answer, see shared/http/message.py
    │   ├── RequestNotSent            surely nothing queued, as for the next four
    │   ├── CredentialUnavailable
    │   ├── CredentialRejected
    │   ├── PermissionDenied
    │   ├── Throttled
    │   ├── RequestRefused            nothing queued, now or later: the request is parked
    │   └── AnswerLost                a run may have been queued, or not
    ├── JournalError
    │   ├── JournalUnavailable
    │   ├── ClaimLost
    │   └── RunAlreadyOwned
    ├── InvalidWait, WaitsForAnother, RunStatusUnavailable    a task cannot wait, or be told
    ├── NotificationFailed            never an outcome
    └── DeliveryDeferred              the host answers 500, so that Event Grid repeats the delivery

The host answers Event Grid with an exception's text, so no message may hold a secret.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


class NextstageError(Exception):
    """Root of every error that nextstage raises."""


class ConfigurationError(NextstageError):
    """The app is set up wrongly and must not start."""


class InvalidSettings(ConfigurationError):
    """Application settings are missing or wrong; the message lists all of them."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One mistake in routes.yaml. ``line`` and ``column`` count from 1."""

    line: int
    column: int
    text: str
    """The offending text, or the empty string where something is missing."""
    advice: str
    """What is wrong, and after the last semicolon what would be right."""

    @property
    def what(self) -> str:
        """What is wrong."""
        return self.advice.rpartition("; ")[0] or self.advice

    @property
    def suggestion(self) -> str:
        """What would be right; empty where that is not said."""
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
        lines = [f"{source} has {count} problem{'s' if count != 1 else ''}; nothing was started:"]
        for problem in self.problems:
            shown = f" {problem.text!r}:" if problem.text else ""
            lines.append(f"  {source}:{problem.line}:{problem.column}:{shown} {problem.advice}")
        super().__init__("\n".join(lines))


class EventRefused(NextstageError):
    """The event, as it is, can never succeed: it is parked with this reason."""


class UnreadableEvent(EventRefused):
    """The text is not an event in either of Event Grid's schemas."""


class IncompleteEvent(EventRefused):
    """The event's data lacks what its type promises; the message lists every such field."""


class RenderingRefused(EventRefused):
    """A route cannot make a safe request of this event."""


class ExpressionFailed(RenderingRefused):
    """A condition or placeholder cannot be evaluated on this event, so what it would say is not known."""


class MissingValue(RenderingRefused):
    """A placeholder finds nothing, or something that is not a single value."""


class UnsafeValue(RenderingRefused):
    """A rendered value could be read as script or macro by the pipeline."""


class AzureDevOpsError(NextstageError):
    """Azure DevOps did not answer with a run."""


class RequestNotSent(AzureDevOpsError):
    """No connection was made (DNS, TCP, TLS), so surely nothing was queued."""


class CredentialUnavailable(AzureDevOpsError):
    """There is no PAT or token to send: Key Vault or Microsoft Entra gave none."""


class CredentialRejected(AzureDevOpsError):
    """Azure DevOps asked to sign in: the PAT or token is wrong or expired. Nothing was queued."""


class PermissionDenied(AzureDevOpsError):
    """The identity lacks a permission; the message says which. Nothing was queued."""


class Throttled(AzureDevOpsError):
    """Azure DevOps wants a pause; nothing was queued.

    :param retry_after_seconds: how long to leave the organization alone.
    """

    def __init__(self, message: str, retry_after_seconds: float) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class RequestRefused(AzureDevOpsError):
    """Azure DevOps refused the request for good, with the server's own words. Nothing was queued.

    :param not_found: what the request names does not exist.
    """

    def __init__(self, message: str, *, not_found: bool = False) -> None:
        super().__init__(message)
        self.not_found = not_found


class AnswerLost(AzureDevOpsError):
    """The request was sent and its answer is unknown: a run may have been queued, or not."""


class InvalidWait(NextstageError):
    """A task's request to wait cannot be taken.

    :param problems: from each wrong field to what is wrong with it.
    """

    def __init__(self, problems: Mapping[str, str]) -> None:
        self.problems = dict(problems)
        super().__init__("; ".join(f"{field} {problem}" for field, problem in self.problems.items()))


class WaitsForAnother(NextstageError):
    """The same task waits for another run already."""


class RunStatusUnavailable(NextstageError):
    """Azure ML does not say what has become of a run."""


class JournalError(NextstageError):
    """The journal could not do what was asked."""


class JournalUnavailable(JournalError):
    """The journal's store does not answer; the message names it."""


class ClaimLost(JournalError):
    """Another delivery has taken the record over since this one last wrote it."""


class RunAlreadyOwned(JournalError):
    """Another record of the same route already names this run as its own."""


class NotificationFailed(NextstageError):
    """The topic did not take notifications.

    :param may_pass: the same request may succeed a moment later.
    """

    def __init__(self, message: str, *, may_pass: bool) -> None:
        super().__init__(message)
        self.may_pass = may_pass


class DeliveryDeferred(NextstageError):
    """At least one route could not be finished now. Raised to the host, so that Event Grid comes again."""
