"""Says what an event leads to on each route, and why. Pure: what the journal says is handed in.

The decisions are those of ``shared/deciding.py``, which the app itself makes; nothing is decided here.
"""

from dataclasses import dataclass, replace

from shared.azure_devops.runs import list_pipelines, run_pipeline
from shared.deciding import Verdict
from shared.events.event import AML_PREFIX
from shared.http.message import HttpRequest
from shared.journal.records import UNROUTED
from shared.routing.condition_parts import Part, evaluate_parts
from shared.routing.table import Match, Refusal, Route, RouteTable
from tools.actions.forecast import Present
from tools.events.dead_letters import DeadLetter


@dataclass(frozen=True, slots=True)
class Value:
    """A parameter or variable of the run.

    :param template: as routes.yaml has it; None where nextstage fills it in itself.
    """

    kind: str
    name: str
    value: str
    template: str | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """One route and one event.

    :param route: the route's name, or ``$unrouted`` where no route can be asked about the event.
    :param event: the type of event that the route is for; empty for ``$unrouted``.
    :param is_asked: the event came to the route: it is of the route's type, and its handler let it through.
    :param decided: what follows; None where nothing does.
    :param reason: why nothing follows, or why no request can be made.
    :param condition: the route's ``when`` with its parts; None where it has none, or is for other events.
    :param values: of the run.
    :param calls: what is sent to Azure DevOps, in order, if the journal lets it.
    :param present: what the journal says; None where nothing follows, or it was not asked or does not answer.
    :param outcome: what a delivery would come to now; empty where that is not known.
    :param because: why that outcome.
    """

    route: str
    event: str
    decided: Match | Refusal | None
    reason: str = ""
    is_asked: bool = False
    condition: Part | None = None
    values: tuple[Value, ...] = ()
    calls: tuple[HttpRequest, ...] = ()
    present: Present | None = None
    outcome: str = ""
    because: str = ""


@dataclass(frozen=True, slots=True)
class Explained:
    """An event as it was read, and what it leads to on every route."""

    letter: DeadLetter
    verdict: Verdict
    routes: tuple[Explanation, ...]


def explain(verdict: Verdict, routes: RouteTable) -> list[Explanation]:
    """Every route, in the table's order; first what no route could be asked about."""
    decided_by_route = {decided.key.route: decided for decided in verdict.decisions}
    why_not = {each.route: each.reason for each in verdict.why_not}
    explanations = []
    if (unrouted := decided_by_route.get(UNROUTED)) is not None and isinstance(unrouted, Refusal):
        explanations.append(Explanation(UNROUTED, "", unrouted, unrouted.reason, is_asked=True))
    for route in routes.routes:
        decided, reason = decided_by_route.get(route.name), why_not.get(route.name)
        if decided is not None or reason is not None:
            explanations.append(_asked(route, decided, reason or "", verdict))
        else:
            explanations.append(Explanation(route.name, route.event, None, _why_not_asked(route, verdict)))
    return explanations


def _asked(route: Route, decided: Match | Refusal | None, reason: str, verdict: Verdict) -> Explanation:
    asked = Explanation(
        route.name,
        route.event,
        decided,
        decided.reason if isinstance(decided, Refusal) else reason,
        is_asked=True,
        # Also of a route that is off, or wants no child runs: whether it would match otherwise is worth knowing.
        condition=None if route.when is None else evaluate_parts(route.when, verdict.scope),
    )
    if not isinstance(decided, Match):
        return asked
    values = tuple(
        Value(kind, name, value, written[name].text if name in written else None)
        for kind, written, rendered in (
            ("parameter", route.parameters, decided.request.parameters),
            ("variable", route.variables, decided.request.variables),
        )
        for name, value in rendered.items()
    )
    return replace(asked, values=values, calls=_calls(decided))


def _calls(match: Match) -> tuple[HttpRequest, ...]:
    request = match.request
    if isinstance(request.pipeline, int):
        return (run_pipeline(request, request.pipeline),)
    # A name is looked up first, once per process; the id that it has is Azure DevOps' to say.
    return (list_pipelines(request, None), run_pipeline(request, f"{{id of {request.pipeline}}}"))


def _why_not_asked(route: Route, verdict: Verdict) -> str:
    if UNROUTED in {decided.key.route for decided in verdict.decisions}:
        return "not asked: the event is parked before any route is"
    name = verdict.entry.event_type.removeprefix(AML_PREFIX)
    return f"it is for {route.event} events" if route.event != name else f"not asked: {verdict.why_nothing}"
