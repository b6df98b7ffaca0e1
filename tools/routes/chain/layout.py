"""Places the chain on a sheet: events, routes and pipelines in three columns, connected by lines. Pure.

The line from a pipeline to an event that it causes runs around the outside and through the gap above the event. Lines
therefore never cross boxes, for tables of any length. Lengths are in SVG user units, which are pixels if unscaled.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain as chained
from typing import Final

from shared.routing.table import Route
from tools.routes.chain.chain import Chain, Pipeline, pipeline_label, pipeline_of
from tools.routes.chain.labels import route_lines

NAME_WIDTH: Final = 7.7
"""The width of a character in a name (bold, 13 units high), in the wider common fonts."""
LINE_WIDTH: Final = 6.7
"""The width of a character in a condition (monospaced, 11 units high)."""
NAME_HEIGHT: Final = 17
LINE_HEIGHT: Final = 15
PADDING: Final = 12
MARGIN: Final = 20
HEAD: Final = 44
MAX_NAME: Final = 40
MAX_LINE: Final = 46

_COLUMN_GAP: Final = 56
_BOX_GAP: Final = 12
_BAND_GAP: Final = 34
_LANE: Final = 10
_BACK_LANE: Final = 18
_EXIT_GAP: Final = 8
_BOX_HEIGHT: Final = NAME_HEIGHT + 2 * PADDING


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle with a name, and lines of text below it."""

    x: float
    y: float
    width: float
    height: float
    name: str
    lines: tuple[str, ...] = ()
    is_off: bool = False

    @property
    def shown_name(self) -> str:
        return _cut(self.name, MAX_NAME)

    @property
    def middle(self) -> float:
        return self.y + self.height / 2

    @property
    def bottom(self) -> float:
        return self.y + self.height

    @property
    def right(self) -> float:
        return self.x + self.width


Point = tuple[float, float]
Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Line:
    """A line with an arrow at its end.

    :param points: the corners; for a line between two neighboring columns, its two ends.
    """

    points: tuple[Point, ...]
    is_caused: bool = False
    is_in_loop: bool = False
    is_off: bool = False


class Layout:
    """All boxes and lines, and the size of the sheet."""

    def __init__(self, chain: Chain, remarks: Mapping[str, str] | None = None) -> None:
        """Place events in the file's order, routes next to their event, and pipelines next to their routes.

        :param remarks: the last line in the box of a route, by its name.
        """
        self._chain = chain
        self._remarks = remarks or {}
        self._events: dict[str, Box] = {}
        self._routes: dict[str, Box] = {}
        self._bands: dict[str, Span] = {}
        self._pipelines: dict[Pipeline, Box] = {}
        x = MARGIN + (_BACK_LANE if any(route.causes for route in chain.routes) else 0)
        self._place_events_and_routes(x)
        self.events, self.routes = list(self._events.values()), list(self._routes.values())
        right = max((box.right for box in (*self.events, *self.routes)), default=x)
        self._place_pipelines(right + _COLUMN_GAP)
        self.pipelines = list(self._pipelines.values())
        boxes = (*self.events, *self.routes, *self.pipelines)
        right = max((box.right for box in boxes), default=right)
        back = self._back(x, right)
        self.lines = [*self._forward(), *back]
        self.width = max([right, *(point[0] for line in back for point in line.points)]) + MARGIN
        self.height = max((box.bottom for box in boxes), default=HEAD) + MARGIN

    def _place_events_and_routes(self, x: float) -> None:
        """Place the first two columns, with each event in the middle of its routes."""
        routes = self._chain.routes
        lines = {each.name: self._lines(each) for each in routes}
        event_width = _names_width(self._chain.events)
        route_width = max(
            _names_width(each.name for each in routes), _width(chained.from_iterable(lines.values()), LINE_WIDTH)
        )
        y = float(MARGIN + HEAD)
        for event in self._chain.events:
            top = y
            for route in (route for route in routes if route.event == event):
                self._routes[route.name] = Box(
                    x=x + event_width + _COLUMN_GAP,
                    y=y,
                    width=route_width,
                    height=_BOX_HEIGHT + LINE_HEIGHT * len(lines[route.name]),
                    name=route.name,
                    lines=lines[route.name],
                    is_off=not route.enabled,
                )
                y = self._routes[route.name].bottom + _BOX_GAP
            bottom = max(y - _BOX_GAP, top + _BOX_HEIGHT)
            self._bands[event] = (top, bottom)
            self._events[event] = Box(x, (top + bottom - _BOX_HEIGHT) / 2, event_width, _BOX_HEIGHT, event)
            y = bottom + _BAND_GAP

    def _lines(self, route: Route) -> tuple[str, ...]:
        remark = [self._remarks[route.name]] if route.name in self._remarks else []
        return tuple(_cut(line, MAX_LINE) for line in (*route_lines(route, MAX_LINE), *remark))

    def _place_pipelines(self, x: float) -> None:
        """Place the third column: each pipeline next to its first route, clear of other pipelines and of the gaps."""
        labels = {pipeline: pipeline_label(pipeline, self._chain) for pipeline in self._chain.pipelines}
        width = _names_width(labels.values())
        for route in self._chain.routes:
            pipeline, top = pipeline_of(route), self._routes[route.name].middle - _BOX_HEIGHT / 2
            self._pipelines.setdefault(pipeline, Box(x, top, width, _BOX_HEIGHT, labels[pipeline]))

    def _forward(self) -> Iterator[Line]:
        for route in self._chain.routes:
            box, event = self._routes[route.name], self._events[route.event]
            pipeline = self._pipelines[pipeline_of(route)]
            yield Line(((event.right, event.middle), (box.x, box.middle)), is_off=box.is_off)
            yield Line(((box.right, box.middle), (pipeline.x, pipeline.middle)), is_off=box.is_off)

    def _back(self, left: float, right: float) -> list[Line]:
        """Return the lines from each pipeline around the outside to the events that it causes."""
        steps = self._chain.causes()
        exits = {step: self._exit(step, list(steps)) for step in steps}
        gaps = {event: self._bands[event][0] - _BAND_GAP / 2 for _, event in steps}
        spans = {event: (gap, gap) for event, gap in gaps.items()}
        for (_, event), y in exits.items():
            spans[event] = (min(spans[event][0], y), max(spans[event][1], y))
        # Each event has a lane. The longest is outermost, which avoids most crossings.
        by_length = sorted(spans, key=lambda event: spans[event][1] - spans[event][0])
        lanes = {event: number for number, event in enumerate(by_length, 1)}
        lines = []
        for step, is_in_loop in steps.items():
            start, end, gap = self._pipelines[step[0]], self._events[step[1]], gaps[step[1]]
            out, back, y = right + _LANE * lanes[step[1]], left - _BACK_LANE, exits[step]
            corners = ((start.right, y), (out, y), (out, gap), (back, gap), (back, end.middle), (end.x, end.middle))
            lines.append(Line(corners, is_caused=True, is_in_loop=is_in_loop))
        return sorted(lines, key=lambda line: line.is_in_loop)  # loops last, so that they are drawn on top

    def _exit(self, step: tuple[Pipeline, str], steps: Sequence[tuple[Pipeline, str]]) -> float:
        """Return the height at which a line leaves its pipeline, next to the pipeline's other lines."""
        siblings = [other for other in steps if other[0] == step[0]]
        return self._pipelines[step[0]].middle + (siblings.index(step) - (len(siblings) - 1) / 2) * _EXIT_GAP


def _names_width(names: Iterable[str]) -> float:
    return _width((_cut(name, MAX_NAME) for name in names), NAME_WIDTH)


def _width(texts: Iterable[str], of_character: float) -> float:
    """Return the width of a box for the widest of the texts."""
    return round(of_character * max(map(len, texts), default=0)) + 2 * PADDING


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
