"""The complete chain: event types, routes, pipelines, and the events that the pipelines cause. Pure."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from shared.routing.routes_file import Reading
from shared.routing.table import Cause, Route
from tools.routes.conditions import Known, may_be_true
from tools.routes.event_values import options
from tools.routes.findings import Finding, Rule, place_of, warning
from tools.routes.forms import wrong_form
from tools.routes.possible_values import Kind, fits

Loop = tuple[str, ...]
"""The routes of a loop, in order. The last route leads to the first."""

Pipeline = tuple[str, str, str]
"""The organization, the project, and the pipeline as routes name it."""


@dataclass(frozen=True, slots=True)
class Chain:
    """The connections between events, routes and pipelines.

    :param events: all event types that a route is for or causes, in the file's order.
    :param pipelines: all pipelines, in the file's order.
    :param leads_to: for each route, the routes that may match the events it causes.
    :param loops: the loops in which no route has a cooldown.
    """

    routes: tuple[Route, ...]
    events: tuple[str, ...]
    pipelines: tuple[Pipeline, ...]
    leads_to: Mapping[str, tuple[str, ...]]
    loops: tuple[Loop, ...]

    def causes(self) -> dict[tuple[Pipeline, str], bool]:
        """Return the pairs of a pipeline and an event that it causes, each with True if the pair is part of a loop."""
        routes = {route.name: route for route in self.routes}
        in_loops = {
            (pipeline_of(routes[here]), routes[there].event)
            for loop in self.loops
            for here, there in zip(loop, (*loop[1:], loop[0]), strict=True)
        }
        steps = [(pipeline_of(route), cause.event) for route in self.routes for cause in route.causes]
        return {step: step in in_loops for step in steps}


def chain_of(routes: Sequence[Route]) -> Chain:
    """Return the chain of the routes."""
    leads_to = {
        route.name: tuple(
            each.name for each in routes if route.enabled and any(may_match(cause, each) for cause in route.causes)
        )
        for route in routes
    }
    undamped = {route.name for route in routes if route.cooldown is None}
    without_cooldowns = {name: [each for each in leads_to[name] if each in undamped] for name in undamped}
    caused = [cause.event for route in routes for cause in route.causes]
    return Chain(
        routes=tuple(routes),
        events=tuple(dict.fromkeys([*(route.event for route in routes), *caused])),
        pipelines=tuple(dict.fromkeys(pipeline_of(route) for route in routes)),
        leads_to=leads_to,
        loops=_loops(without_cooldowns, routes),
    )


def pipeline_of(route: Route) -> Pipeline:
    """Return the pipeline that a route queues."""
    return (route.organization_url, route.project, str(route.pipeline))


def pipeline_label(pipeline: Pipeline, chain: Chain) -> str:
    """Return the pipeline's name, with its project if the table has several."""
    _, project, name = pipeline
    return name if len({(each[0], each[1]) for each in chain.pipelines}) == 1 else f"{name} in {project}"


def may_match(cause: Cause, route: Route) -> bool:
    """Return whether a caused event may match a route, given its known values."""
    if not route.enabled or cause.event != route.event:
        return False
    if route.when is None:
        return True
    values = {tuple(name.split(".")): value for name, value in cause.names.items()}
    known = Known(route.event, with_children=route.include_child_runs, values=values)
    return may_be_true(route.when.tree, known)


def loop_warnings(reading: Reading) -> Iterator[Finding]:
    """Yield a warning for each loop without a cooldown, at the first of its routes."""
    for loop in chain_of(reading.table.routes).loops:
        place = place_of(reading, loop[0], "causes")
        message = f"may loop without end: {' -> '.join((*loop, loop[0]))}; none of these routes has a cooldown"
        advice = "give one of them a 'cooldown', or list known values of the caused events under 'with'"
        yield warning(place, Rule.LOOP, loop[0], message, advice)


def cause_warnings(reading: Reading) -> Iterator[Finding]:
    """Yield a warning for each value under 'with' that the event never has."""
    for route in reading.table.routes:
        for cause in route.causes:
            place = place_of(reading, route.name, "causes")
            for name, value in cause.names.items():
                path = tuple(name.split("."))
                found = options(cause.event, path, with_children=True)
                if not any(fits(option, value) for option in found):
                    message = f"'{name}' never has this value in {cause.event} events"
                    is_string = any(option.kind is Kind.STRING for option in found) and not isinstance(value, str)
                    advice = "it is a string; put the value in quotes" if is_string else ""
                    yield warning(place, Rule.CAUSE_VALUE, f"{name}: {value}", message, advice)
                elif (wrong := wrong_form(cause.event, path, value)) is not None:
                    yield warning(place, Rule.CAUSE_VALUE, f"{name}: {value}", *wrong)


def _loops(leads_to: Mapping[str, Sequence[str]], routes: Sequence[Route]) -> tuple[Loop, ...]:
    """Return the shortest loop of each route that is in a loop. Loops of the same routes are returned once."""
    loops: dict[frozenset[str], Loop] = {}
    for route in routes:
        if loop := _shortest_loop(route.name, leads_to):
            loops.setdefault(frozenset(loop), loop)
    return tuple(loops.values())


def _shortest_loop(start: str, leads_to: Mapping[str, Sequence[str]]) -> Loop | None:
    """Return the shortest loop through a route, or None; a breadth-first search."""
    paths: deque[Loop] = deque([(start,)])
    reached: set[str] = set()
    while paths:
        path = paths.popleft()
        for following in leads_to.get(path[-1], ()):
            if following == start:
                return path
            if following not in reached:
                reached.add(following)
                paths.append((*path, following))
    return None
