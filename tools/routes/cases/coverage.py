"""Finds the routes that no case matches, and the parts of conditions that no case makes true, or false. Pure."""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from shared.deciding import Verdict
from shared.routing.condition_parts import Answer, Part, evaluate_parts
from shared.routing.routes_file import Place, Reading
from shared.routing.table import Match, Route

_ANSWERS: Final = (Answer.TRUE, Answer.FALSE)


class Gap(NamedTuple):
    """Something that no case tests.

    :param place: the route in its file, or its condition.
    :param part: the condition or a part of it; empty if the gap is the whole route.
    :param missing: ``match``, or the answer that no case gives.
    """

    place: Place
    route: str
    part: str
    missing: str

    @property
    def words(self) -> str:
        """The gap, on one line."""
        return f"{self.route}: " + (
            f"no case makes this {self.missing}: {self.part}" if self.part else "no case matches"
        )


def gaps(reading: Reading, verdicts: Iterable[Verdict]) -> list[Gap]:
    """Return what the events of all cases leave out, in the order of the file. Disabled routes do not count."""
    matched: set[str] = set()
    seen: set[tuple[str, str, Answer]] = set()
    routes = {route.name: route for route in reading.table.routes}
    for verdict in verdicts:
        decided = {each.key.route for each in verdict.decisions}
        matched |= {each.key.route for each in verdict.decisions if isinstance(each, Match)}
        for name in decided | {each.route for each in verdict.why_not}:
            if name in routes:
                seen |= {(name, *each) for each in _answers(routes[name], verdict, is_decided=name in decided)}
    return [gap for route in routes.values() if route.enabled for gap in _of_route(route, reading, matched, seen)]


def _answers(route: Route, verdict: Verdict, *, is_decided: bool) -> Iterator[tuple[str, Answer]]:
    """Yield the parts of a condition with their answers, if the app has evaluated it: it does not for a child run."""
    if route.when is not None:
        whole = evaluate_parts(route.when, verdict.scope)
        if is_decided or whole.answer is Answer.FALSE:
            yield from ((part.text, part.answer) for part in _leaves(whole))


def _leaves(part: Part) -> Iterator[Part]:
    for each in part.parts:
        yield from _leaves(each)
    if not part.parts:
        yield part


def _of_route(route: Route, reading: Reading, matched: set[str], seen: set[tuple[str, str, Answer]]) -> Iterator[Gap]:
    if route.name not in matched:  # the case that is missing will also give its condition an answer
        yield Gap(reading.places[route.name,], route.name, "", "match")
    elif route.when is not None:
        place = reading.places.get((route.name, "when")) or reading.places[route.name,]
        # What a condition consists of does not depend on the values.
        for text in dict.fromkeys(part.text for part in _leaves(evaluate_parts(route.when, {}))):
            for answer in _ANSWERS:
                if (route.name, text, answer) not in seen:
                    yield Gap(place, route.name, text, answer)
