"""Explains what an event leads to on each route, and why. Reads the journal and changes nothing.

The decisions are made by ``shared/deciding.py``, as in the app; nothing is decided here.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from shared.azure_devops.runs import RunRequest, list_pipelines, run_pipeline, with_api_version
from shared.deciding import Verdict
from shared.errors import JournalUnavailable, UnreadableRecord
from shared.events.event import AML_PREFIX, RunEnd
from shared.http.message import HttpRequest
from shared.journal.records import UNROUTED, JournalKey, Record
from shared.queueing.pipelines import orchestration_id
from shared.routing.condition_parts import Part, evaluate_parts
from shared.routing.table import Match, Refusal, Route, RouteTable
from tools.actions.forecast import WOULD_PARK, JournalState, forecast, read_journal
from tools.actions.waiting_tasks import waiting_tasks
from tools.events.dead_letters import DeadLetter
from tools.installation import Installation


@dataclass(frozen=True, slots=True)
class Value:
    """A parameter or variable of the run.

    :param template: the template in routes.yaml; None if nextstage sets the value itself.
    """

    kind: str
    name: str
    value: str
    template: str | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """The explanation of one event on one route.

    :param route: the route's name, or ``$unrouted`` if the event cannot be checked against any route.
    :param event: the route's event type; empty for ``$unrouted``.
    :param decided: the decision; None if the route does not match.
    :param reason: why the route does not match, or why no request can be made.
    :param is_checked: whether the route was checked: the event has its type, and the handler passed the event on.
    :param condition: the route's ``when`` with its parts; None if there is none, or the route was not checked.
    :param values: the parameters and variables of the run.
    :param calls: the calls to Azure DevOps, in order, if the journal permits them.
    :param journal_state: what the journal holds; None if nothing was decided, or the journal was not read.
    :param outcome: the outcome of a delivery now; empty if it is not known.
    :param because: the reason for that outcome.
    """

    route: str
    event: str
    decided: Match | Refusal | None
    reason: str = ""
    is_checked: bool = False
    condition: Part | None = None
    values: tuple[Value, ...] = ()
    calls: tuple[HttpRequest, ...] = ()
    journal_state: JournalState | None = None
    outcome: str = ""
    because: str = ""


@dataclass(frozen=True, slots=True)
class Explained:
    """An event and its explanation on every route.

    :param waiting: the tasks that wait for the run whose end the event reports. The app completes them.
    """

    letter: DeadLetter
    verdict: Verdict
    routes: tuple[Explanation, ...]
    waiting: tuple[Record, ...] = ()


@dataclass
class Explainer:
    """Combines what the routes decide with what the journal holds.

    :param route: explain only this route; None for all.
    :param journal_problem: why the journal does not answer. Once set, the journal is not read again.
    :param would_park: True once an explained event would be parked.
    """

    installation: Installation
    route: str | None
    now: datetime
    journal_problem: str = ""
    would_park: bool = False

    def explain(self, letter: DeadLetter, verdict: Verdict | None = None) -> Explained:
        """Explain one event on every route.

        :param verdict: the decision, if it is known already.
        :raises ConfigurationError: the routes are invalid.
        """
        verdict = verdict or self.installation.decide(letter.text)
        settings, routes = self.installation.configuration
        explanations = explain(verdict, routes, settings.api_version)
        wanted = [each for each in explanations if self.route in {None, each.route} or each.route == UNROUTED]
        completed = tuple(self._completed(each, verdict.entry.event_id) for each in wanted)
        return Explained(letter, verdict, completed, tuple(self._waiting(verdict.run_end)))

    def _waiting(self, end: RunEnd | None) -> list[Record]:
        if self.journal_problem or self.route is not None:
            return []
        try:
            return waiting_tasks(self.installation, end)
        except JournalUnavailable as exc:
            self.journal_problem = str(exc)
            return []

    def _completed(self, explanation: Explanation, event_id: str) -> Explanation:
        decided = explanation.decided
        if decided is None or self.journal_problem:
            return explanation
        try:
            found = read_journal(self.installation, decided, event_id)
        except UnreadableRecord:
            return explanation  # the command says which records cannot be read; the others can
        except JournalUnavailable as exc:
            self.journal_problem = str(exc)
            return explanation
        outcome, because = forecast(decided, found, self.now)
        self.would_park = self.would_park or outcome == WOULD_PARK
        return replace(explanation, journal_state=found, outcome=outcome, because=because)


def explain(verdict: Verdict, routes: RouteTable, api_version: str) -> list[Explanation]:
    """Explain the verdict on every route, in the table's order. ``$unrouted`` comes first. Pure.

    :param api_version: the version of the REST API that the calls name.
    """
    decided_by_route = {decided.key.route: decided for decided in verdict.decisions}
    why_not = {each.route: each.reason for each in verdict.why_not}
    explanations = []
    if (unrouted := decided_by_route.get(UNROUTED)) is not None and isinstance(unrouted, Refusal):
        explanations.append(Explanation(UNROUTED, "", unrouted, unrouted.reason, is_checked=True))
    for route in routes.routes:
        decided, reason = decided_by_route.get(route.name), why_not.get(route.name)
        if decided is not None or reason is not None:
            explained = _checked(route, decided, reason or "", verdict)
            calls = tuple(with_api_version(call, api_version) for call in explained.calls)
            explanations.append(replace(explained, calls=calls))
        else:
            explanations.append(Explanation(route.name, route.event, None, _why_not_checked(route, verdict)))
    return explanations


def _checked(route: Route, decided: Match | Refusal | None, reason: str, verdict: Verdict) -> Explanation:
    checked = Explanation(
        route.name,
        route.event,
        decided,
        decided.reason if isinstance(decided, Refusal) else reason,
        is_checked=True,
        # Shown for a disabled route, too: it is useful to know if the route would match otherwise.
        condition=None if route.when is None else evaluate_parts(route.when, verdict.scope),
    )
    if not isinstance(decided, Match):
        return checked
    values = tuple(
        Value(kind, name, value, written[name].text if name in written else None)
        for kind, written, rendered in (
            ("parameter", route.parameters, decided.request.parameters),
            ("variable", route.variables, decided.request.variables),
        )
        for name, value in rendered.items()
    )
    return replace(checked, values=values, calls=calls_of(decided.key, decided.request))


def calls_of(key: JournalKey, request: RunRequest) -> tuple[HttpRequest, ...]:
    """Return the calls that queue the run of a record, in order."""
    run_id = orchestration_id(key)
    if isinstance(request.pipeline, int):
        return (run_pipeline(request, request.pipeline, run_id),)
    # The id of a named pipeline is looked up first, once per process. Only Azure DevOps knows it.
    return (list_pipelines(request, None), run_pipeline(request, f"{{id of {request.pipeline}}}", run_id))


def _why_not_checked(route: Route, verdict: Verdict) -> str:
    if UNROUTED in {decided.key.route for decided in verdict.decisions}:
        return "not checked: the event is parked before any route is checked"
    name = verdict.entry.event_type.removeprefix(AML_PREFIX)
    return f"it is for {route.event} events" if route.event != name else f"not checked: {verdict.why_nothing}"
