"""Warns of routes that can be read and yet can hardly be meant: never true, never filled in, or twice the same. Pure.

What is said without "may" is certain; see ``condition_analysis``.
"""

from collections.abc import Iterator, Mapping
from itertools import combinations

from shared.routing.routes_file import Reading
from shared.routing.table import Route
from shared.routing.templates import Expression, Template
from tools.routes import condition_analysis as analysis
from tools.routes.condition_analysis import Known
from tools.routes.findings import Finding, Rule, place_of, warning
from tools.routes.possible_values import Kind, Possible
from tools.routes.why_never import why_never

_NEVER_A_VALUE = {Kind.NULL, Kind.LIST, Kind.OBJECT}


def condition_warnings(reading: Reading) -> Iterator[Finding]:
    """Conditions that can never be true, always are, or always fail."""
    for route in reading.table.routes:
        if route.when is None:
            continue
        expression = route.when.expression
        place, known = place_of(reading, route.name, "when"), known_of(route)
        outcome = analysis.may_be(expression.tree, known)
        if not outcome.options:
            message = "can never be evaluated, so the route parks every event that it is asked about"
            yield warning(place, Rule.ALWAYS_PARKS, expression.text, message, why_never(expression, known))
        elif not outcome.may_be_true:
            message = "can never be true, so the route never matches"
            yield warning(place, Rule.NEVER_MATCHES, expression.text, message, why_never(expression, known))
        elif not outcome.may_be_false and not outcome.may_fail:
            message = "is always true"
            yield warning(place, Rule.ALWAYS_TRUE, expression.text, message, "leave 'when' out, or compare something")


def template_warnings(reading: Reading) -> Iterator[Finding]:
    """Placeholders that can never find a single value."""
    for route in reading.table.routes:
        for path, template in _templates(route):
            for part in template.parts:
                if isinstance(part, Expression) and _is_never_a_value(part, known_of(route)):
                    message = "never finds a single value, so the route parks every event that it matches"
                    advice = why_never(part, known_of(route)) or _single(part, known_of(route))
                    yield warning(place_of(reading, *path), Rule.ALWAYS_PARKS, part.text, message, advice)


def pair_warnings(reading: Reading) -> Iterator[Finding]:
    """Two enabled routes of one event type that would queue the same pipeline for one event."""
    on = [route for route in reading.table.routes if route.enabled]
    for first, second in combinations(on, 2):
        if _may_queue_the_same(first, second) and (finding := _overlap(reading, first, second)) is not None:
            yield finding


def known_of(route: Route) -> Known:
    """What is known of the events that reach a route."""
    return Known(route.event, with_children=route.include_child_runs)


def _templates(route: Route) -> Iterator[tuple[tuple[str, ...], Template]]:
    for key, templates in (("parameters", route.parameters), ("variables", route.variables)):
        for name, template in templates.items():
            yield (route.name, key, name), template
    for key, single in (("once_per", route.once_per), ("cooldown_key", route.cooldown_key)):
        if single is not None:
            yield (route.name, key), single


def _is_never_a_value(expression: Expression, known: Known) -> bool:
    outcome = analysis.may_be(expression.tree, known)
    return outcome.kinds <= _NEVER_A_VALUE


def _single(expression: Expression, known: Known) -> str:
    kinds = analysis.may_be(expression.tree, known).kinds
    if kinds == {Kind.LIST}:
        return f"it is a list: {{{{ join(',', {expression.text}) }}}} makes one text of it"
    return f"it is {' or '.join(sorted(kinds))}; name something in it" if kinds else ""


def _may_queue_the_same(first: Route, second: Route) -> bool:
    """Whether the requests of two routes may be equal: they name one pipeline, and differ in nothing that is fixed."""
    fixed = ("event", "organization_url", "project", "pipeline", "branch", "pipeline_version", "stages_to_skip")
    if any(getattr(first, key) != getattr(second, key) for key in fixed):
        return False
    return not any(
        _surely_differ(first_values, second_values)
        for first_values, second_values in (
            (first.parameters, second.parameters),
            (first.variables, second.variables),
        )
    )


def _surely_differ(first: Mapping[str, Template], second: Mapping[str, Template]) -> bool:
    """Whether both give a literal text under one name, and not the same: such routes are meant to be two runs."""
    return any(
        name in second and _is_literal(template) and _is_literal(second[name]) and template.text != second[name].text
        for name, template in first.items()
    )


def _is_literal(template: Template) -> bool:
    return all(isinstance(part, str) for part in template.parts)


def _overlap(reading: Reading, first: Route, second: Route) -> Finding | None:
    """The warning of two routes that may match one event; None where they exclude each other."""
    together, first_alone, second_alone = _ways(first, second)
    if not together:
        return None
    # Of the later one, as it was written last, unless it is the wider one.
    one, other = (second, first) if first_alone or not second_alone else (first, second)
    if first_alone and second_alone:
        rule, how = Rule.OVERLAP, "may match the same event as"
    else:
        rule, how = Rule.SHADOWED, "matches only what is matched by"
    line = place_of(reading, other.name)[0]
    message = f"{how} '{other.name}' (line {line}), and both ask for the pipeline {one.pipeline}"
    advice = "make their conditions exclude each other, or remove one"
    return warning(place_of(reading, one.name), rule, one.name, message, advice)


def _ways(first: Route, second: Route) -> tuple[bool, bool, bool]:
    """Whether both may match one event, the first one without the second, and the second one without the first."""
    known = Known(first.event, with_children=first.include_child_runs or second.include_child_runs)
    trees = [route.when.expression.tree for route in (first, second) if route.when is not None]
    together = first_alone = second_alone = False
    for answers in analysis.cases(trees, known):
        given = iter(answers)
        first_may, first_may_not = _may(first, given)
        second_may, second_may_not = _may(second, given)
        together = together or (first_may and second_may)
        first_alone = first_alone or (first_may and second_may_not)
        second_alone = second_alone or (second_may and first_may_not)
    if first.include_child_runs != second.include_child_runs:  # child runs are one route's alone
        first_alone = first_alone or first.include_child_runs
        second_alone = second_alone or second.include_child_runs
    return together, first_alone, second_alone


def _may(route: Route, given: Iterator[Possible]) -> tuple[bool, bool]:
    """Whether a route may match, and whether it may not."""
    if route.when is None:
        return True, False
    answer = next(given)
    return answer.may_be_true, answer.may_be_false or answer.may_fail
