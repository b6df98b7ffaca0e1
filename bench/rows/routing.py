"""Row 8: the time to resolve an event with many routes, compared with few."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench.comparison import Comparison, Target, interleave
from bench.programs.events import event_text
from bench.sizes import Sizes
from handlers import DISPATCH
from shared.events.event import AmlEvent, Occurrence, parse_event
from shared.routing.table import Route, RouteTable
from shared.routing.templates import Expression, parse_template

FEW: Final = 10
_MICROSECONDS: Final = 1e6
_RESOLUTIONS: Final = 5
_OTHER_TYPES: Final = ("ModelRegistered", "ModelDeployed", "DatasetDriftDetected", "RunStatusChanged")


def routing(sizes: Sizes, folder: Path) -> list[Comparison]:  # noqa: ARG001 - needs no files
    """Measure added routes of other event types, and added routes of the same type whose conditions do not hold."""
    event = parse_event(event_text(0))
    occurrence = DISPATCH[event.type](event)
    if not isinstance(occurrence, Occurrence):
        raise TypeError("the handler found no occurrence in the event")
    few = RouteTable(_routes(FEW, [event.name]))
    lines = []
    for row, added in zip(("8", "8b"), sizes.routes, strict=True):
        many = RouteTable([*few.routes, *_routes(added - FEW, _OTHER_TYPES)])
        pairs = _timed_pairs(many, few, event, occurrence, sizes)
        measure = f"time to resolve an event with {added:,} routes, added ones of other types"
        lines.append(Comparison(row, measure, f"{FEW} routes", "µs", pairs, Target("≤", 1.1)))
    for row, added in zip(("8c", "8d"), sizes.routes, strict=True):
        many = RouteTable([*few.routes, *_routes(added - FEW, [event.name])])
        pairs = _timed_pairs(many, few, event, occurrence, sizes)
        per_route = [((ours - theirs) * 1000 / (added - FEW), theirs * 1000 / FEW) for ours, theirs in pairs]
        measure = f"time per added route of the same type, {added:,} routes"
        lines.append(Comparison(row, measure, f"per route of {FEW}", "ns", per_route))
    return lines


def _routes(number: int, events: Sequence[str]) -> list[Route]:
    """Return routes with different conditions. Only the condition of the first one holds for the event."""
    return [
        Route(
            name=f"{events[0]}-{index}",
            event=events[index % len(events)],
            organization_url="https://dev.azure.com/contoso",
            project="mlops",
            pipeline=index + 1,
            when=Expression(f"event.subject == 'train-{index}'" if index else "event.id", None),
            parameters={"subject": parse_template("{{ event.subject }}", None)},
            tags=False,
        )
        for index in range(number)
    ]


def _timed_pairs(
    many: RouteTable, few: RouteTable, event: AmlEvent, occurrence: Occurrence, sizes: Sizes
) -> list[tuple[float, float]]:
    """Return microseconds per resolution: the best of several, because a single one is too short to time reliably."""

    def measured(table: RouteTable) -> float:
        best = float("inf")
        for _ in range(_RESOLUTIONS):
            started = time.perf_counter()
            table.resolve(event, occurrence)
            best = min(best, time.perf_counter() - started)
        return best * _MICROSECONDS

    return interleave(lambda: measured(many), lambda: measured(few), sizes.repeats)
