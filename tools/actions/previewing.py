"""Has Azure DevOps check runs without queuing them, and says what came of each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from shared.azure_devops.client import PipelinesClient
from shared.clock import Clock, utc_now
from shared.errors import AnswerLost, AzureDevOpsError, PermissionDenied, RequestRefused
from shared.routing.table import Match, Refusal, Route
from tools.actions.forecasting import WOULD_IGNORE, WOULD_PARK
from tools.actions.records import parsed
from tools.events.input import InputEvent
from tools.installation import Installation
from tools.routes.matching_events import NoEvent, matching_event
from tools.wording import request_words

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
    """What came of one event on one route.

    :param route: ``-`` where no route wants the event.
    :param event: the event that was used; None where none could be made.
    :param sampled: the parameters and variables whose values only a sample event gives.
    """

    route: str
    outcome: str
    reason: str = ""
    event: InputEvent | None = None
    match: Match | None = None
    sampled: frozenset[str] = frozenset()
    final_yaml: str = ""

    @property
    def words(self) -> str:
        """The request, and what is wrong with it."""
        request = "" if self.match is None else request_words(self.match.request, self.sampled)
        return ": ".join(part for part in (self.reason, request) if part)

    def document(self) -> dict[str, Any]:
        """All of it as JSON."""
        return {
            "file": None if self.event is None or not self.event.file else self.event.file,
            "event": None if self.event is None else self.event.document,
            "route": None if self.route == _NO_ROUTE else self.route,
            "outcome": self.outcome,
            "reason": self.reason,
            "request": None if self.match is None else parsed(self.match.request.to_json()),
            "sampled": sorted(self.sampled),
            "final_yaml": self.final_yaml or None,
        }


@dataclass
class Previewer:
    """Asks Azure DevOps; an organization that cannot be reached, or lets nobody in, is asked once only.

    :param troubles: for each organization that could not be asked, why.
    """

    pipelines: PipelinesClient
    clock: Clock = utc_now
    troubles: dict[str, AzureDevOpsError] = field(default_factory=dict)

    def event(self, installation: Installation, event: InputEvent) -> Iterator[Preview]:
        """Preview each run that an event asks for.

        :raises ConfigurationError: the routes are wrong.
        """
        verdict = installation.decide(event.text)
        for decided in verdict.decisions:
            yield self.decided(decided, event)
        if not verdict.decisions:
            yield Preview(_NO_ROUTE, WOULD_IGNORE, verdict.why_nothing, event)

    def route(self, installation: Installation, route: Route, events: Sequence[InputEvent]) -> Preview:
        """Preview the run that a route asks for, with the first of these events that it matches, or a sample.

        :raises ConfigurationError: the routes are wrong.
        """
        if not route.enabled:
            return Preview(route.name, DISABLED, "enabled: false")
        for event in events:
            for decided in installation.decide(event.text).decisions:
                if decided.key.route == route.name:
                    return self.decided(decided, event)
        made = matching_event(route)
        if isinstance(made, NoEvent):
            advice = "preview it by hand: manage.py preview EVENT.json, with an event that it matches"
            return Preview(route.name, NO_SAMPLE, f"no event could be made that it matches ({made.reason}); {advice}")
        return self.decided(made.match, InputEvent("", made.text), made.sampled)

    def decided(self, decided: Match | Refusal, event: InputEvent, sampled: frozenset[str] = frozenset()) -> Preview:
        """Preview the run that was decided on, if there is one."""
        if isinstance(decided, Refusal):
            return Preview(decided.key.route, WOULD_PARK, decided.reason, event)
        outcome, reason, final_yaml = self.ask(decided)
        return Preview(decided.key.route, outcome, reason, event, decided, sampled, final_yaml)

    def ask(self, match: Match) -> tuple[str, str, str]:
        """The outcome, why where it is not accepted, and the final YAML where it is."""
        organization = match.request.organization_url
        if organization in self.troubles:
            return UNKNOWN, "could not be asked", ""
        try:
            final_yaml = self.pipelines.preview(match.request, self.clock() + timedelta(seconds=PREVIEW_SECONDS))
        except (RequestRefused, PermissionDenied) as exc:
            return REFUSED, str(exc), ""
        except AzureDevOpsError as exc:
            if isinstance(exc.__cause__, AnswerLost):  # this one request may be at fault, so the others are asked
                return UNKNOWN, str(exc), ""
            self.troubles[organization] = exc
            return UNKNOWN, "could not be asked", ""
        return ACCEPTED, "", final_yaml
