"""Has Azure DevOps check runs without queuing them, and reports the result of each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from shared.azure_devops.client import PipelinesClient
from shared.clock import utc_now
from shared.errors import AnswerLost, AzureDevOpsError, PermissionDenied, RequestRefused
from shared.routing.table import Match, Refusal, Route
from tools.actions.forecast import WOULD_IGNORE, WOULD_PARK
from tools.actions.records import parsed
from tools.events.dead_letters import DeadLetter
from tools.installation import Installation
from tools.presentation import request_words
from tools.routes.matching_events import NoEvent, matching_event

ACCEPTED: Final = "accepted"
REFUSED: Final = "refused"
UNKNOWN: Final = "unknown"
NO_SAMPLE: Final = "no sample"
DISABLED: Final = "disabled"
GOOD_PREVIEWS: Final = frozenset({ACCEPTED, DISABLED, WOULD_IGNORE})

PREVIEW_SECONDS: Final = 30
_NO_ROUTE: Final = "-"


@dataclass(frozen=True, slots=True)
class Preview:
    """The preview of one event on one route.

    :param route: the route; ``-`` if no route matches the event.
    :param file: the file of the event; empty for a sample event.
    :param event: the event, as JSON; empty if none could be made.
    :param sampled: the parameters and variables whose values come only from a sample event.
    """

    route: str
    outcome: str
    reason: str = ""
    file: str = ""
    event: str = ""
    match: Match | None = None
    sampled: frozenset[str] = frozenset()
    final_yaml: str = ""

    @property
    def words(self) -> str:
        """The reason and the request, on one line."""
        request = "" if self.match is None else request_words(self.match.request, self.sampled)
        return ": ".join(part for part in (self.reason, request) if part)

    def document(self) -> dict[str, Any]:
        """Return the preview as a JSON document."""
        return {
            "file": self.file or None,
            "event": parsed(self.event) if self.event else None,
            "route": None if self.route == _NO_ROUTE else self.route,
            "outcome": self.outcome,
            "reason": self.reason,
            "request": None if self.match is None else parsed(self.match.request.to_json()),
            "sampled": sorted(self.sampled),
            "final_yaml": self.final_yaml or None,
        }


@dataclass
class Previewer:
    """Requests previews from Azure DevOps. After a failure, an organization is not contacted again.

    The exceptions are failures that concern only one run: a refusal, a missing permission, a lost answer.

    :param errors: the error of each organization that cannot be reached or rejects the credential.
    """

    pipelines: PipelinesClient
    errors: dict[str, AzureDevOpsError] = field(default_factory=dict)

    def event(self, installation: Installation, event: DeadLetter) -> Iterator[Preview]:
        """Preview each run that an event requests.

        :raises ConfigurationError: the routes are invalid.
        """
        verdict = installation.decide(event.text)
        for decided in verdict.decisions:
            yield self.decided(decided, event.text, event.file)
        if not verdict.decisions:
            yield Preview(_NO_ROUTE, WOULD_IGNORE, verdict.why_nothing, event.file, event.text)

    def route(self, installation: Installation, route: Route, events: Sequence[DeadLetter]) -> Preview:
        """Preview the run that a route requests, with the first of these events that it matches, or a sample event.

        :raises ConfigurationError: the routes are invalid.
        """
        if not route.enabled:
            return Preview(route.name, DISABLED, "enabled: false")
        for event in events:
            for decided in installation.decide(event.text).decisions:
                if decided.key.route == route.name:
                    return self.decided(decided, event.text, event.file)
        made = matching_event(route)
        if isinstance(made, NoEvent):
            advice = "preview an event that it matches: manage.py preview EVENT.json"
            return Preview(route.name, NO_SAMPLE, f"no matching event could be made ({made.reason}); {advice}")
        return self.decided(made.match, made.text, sampled=made.sampled)

    def decided(
        self, decided: Match | Refusal, event: str, file: str = "", sampled: frozenset[str] = frozenset()
    ) -> Preview:
        """Preview the run of a decision, if it has one."""
        if isinstance(decided, Refusal):
            return Preview(decided.key.route, WOULD_PARK, decided.reason, file, event)
        outcome, reason, final_yaml = UNKNOWN, "could not be previewed", ""
        organization = decided.request.organization_url
        if organization not in self.errors:
            try:
                deadline = utc_now() + timedelta(seconds=PREVIEW_SECONDS)
                outcome, reason, final_yaml = ACCEPTED, "", self.pipelines.preview(decided.request, deadline)
            except (RequestRefused, PermissionDenied) as exc:
                outcome, reason = REFUSED, str(exc)
            except AzureDevOpsError as exc:
                if isinstance(exc.__cause__, AnswerLost):  # perhaps only this request fails, so go on
                    reason = str(exc)
                else:
                    self.errors[organization] = exc
        return Preview(decided.key.route, outcome, reason, file, event, decided, sampled, final_yaml)
