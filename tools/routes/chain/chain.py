"""The whole chain: event types, routes, pipelines, and the events that those bring about again. Pure."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from shared.routing.routes_file import Reading
from shared.routing.table import Cause, Route
from tools.routes.conditions import Known, may_be_true
from tools.routes.event_values import options
from tools.routes.findings import Finding, Rule, place_of, warning
from tools.routes.possible_values import fits

Loop = tuple[str, ...]
"""The routes of a loop, in its order; after the last one comes the first again."""

Pipeline = tuple[str, str, str]
"""Organization, project, and the pipeline as routes name it."""


@dataclass(frozen=True, slots=True)
class Chain:
    """What follows from what.

    :param events: all types that a route is for or brings about, in the file's order.
    :param pipelines: each once, in the file's order.
    :param leads_to: from each route to the routes that may match the events it brings about.
    :param loops: those in which no route has a cooldown.
    """

    routes: tuple[Route, ...]
    events: tuple[str, ...]
    pipelines: tuple[Pipeline, ...]
    leads_to: Mapping[str, tuple[str, ...]]
    loops: tuple[Loop, ...]

    def causes(self) -> dict[tuple[Pipeline, str], bool]:
        """Return each pipeline with an event that it brings about, and whether that is a step of a loop."""
        routes = {route.name: route for route in self.routes}
        in_loops = {
            (pipeline_of(routes[here]), routes[there].event)
            for loop in self.loops
            for here, there in zip(loop, (*loop[1:], loop[0]), strict=True)
        }
        steps = [(pipeline_of(route), cause.event) for route in self.routes for cause in route.causes]
        return {step: step in in_loops for step in steps}


def chain_of(routes: Sequence[Route]) -> Chain:
    """Put the chain together."""
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
    """The pipeline that a route queues."""
    return (route.organization_url, route.project, str(route.pipeline))


def pipeline_label(pipeline: Pipeline, chain: Chain) -> str:
    """Its name, and its project where the table has several."""
    _, project, name = pipeline
    return name if len({(each[0], each[1]) for each in chain.pipelines}) == 1 else f"{name} in {project}"


def may_match(cause: Cause, route: Route) -> bool:
    """Whether an event that is brought about may match a route, by what is known to be in it."""
    if not route.enabled or cause.event != route.event:
        return False
    if route.when is None:
        return True
    values = {tuple(name.split(".")): value for name, value in cause.names.items()}
    known = Known(route.event, with_children=route.include_child_runs, values=values)
    return may_be_true(route.when.tree, known)


def loop_warnings(reading: Reading) -> Iterator[Finding]:
    """Loops without a cooldown, each at the first of its routes."""
    for loop in chain_of(reading.table.routes).loops:
        place = place_of(reading, loop[0], "causes")
        message = f"may go round without an end: {' -> '.join((*loop, loop[0]))}, and none of these has a cooldown"
        advice = "give one of them a 'cooldown', or say under 'with' what the events hold that are brought about"
        yield warning(place, Rule.LOOP, loop[0], message, advice)


def cause_warnings(reading: Reading) -> Iterator[Finding]:
    """What an event is said to hold, and never does."""
    for route in reading.table.routes:
        for cause in route.causes:
            for name, value in cause.names.items():
                found = options(cause.event, tuple(name.split(".")), with_children=True)
                if not any(fits(option, value) for option in found):
                    message = f"{cause.event} events never hold this as '{name}'"
                    yield warning(
                        place_of(reading, route.name, "causes"), Rule.CAUSE_VALUE, f"{name}: {value}", message
                    )


def _loops(leads_to: Mapping[str, Sequence[str]], routes: Sequence[Route]) -> tuple[Loop, ...]:
    """The shortest loop through each route that is in one; of loops with the same routes, one."""
    loops: dict[frozenset[str], Loop] = {}
    for route in routes:
        if loop := _shortest_loop(route.name, leads_to):
            loops.setdefault(frozenset(loop), loop)
    return tuple(loops.values())


def _shortest_loop(start: str, leads_to: Mapping[str, Sequence[str]]) -> Loop | None:
    """Found by going out from a route, step by step, until it is reached again."""
    ways: deque[Loop] = deque([(start,)])
    reached: set[str] = set()
    while ways:
        way = ways.popleft()
        for following in leads_to.get(way[-1], ()):
            if following == start:
                return way
            if following not in reached:
                reached.add(following)
                ways.append((*way, following))
    return None
