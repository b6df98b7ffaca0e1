"""Warnings for valid routes that are probably mistakes: they never match, find no value, or repeat a route. Pure.

A warning without "may" is certain; see ``conditions``.
"""

from collections.abc import Iterator
from itertools import combinations
from typing import Final

from handlers import EVENT_TYPES
from shared.routing.expression_tree import Tree
from shared.routing.routes_file import Reading
from shared.routing.table import Route
from shared.routing.templates import Expression, Template
from shared.suggestion import nearest
from tools.routes.conditions import FAILED, Known, kinds, truths
from tools.routes.contradictions import why_never, wrong_kinds
from tools.routes.findings import Finding, Rule, place_of, warning
from tools.routes.forms import wrong_forms
from tools.routes.possible_values import Kind

_NO_CONDITION: Final[Tree] = {"type": "literal", "value": True, "children": []}
_AZURE: Final = "Microsoft."
_TYPES_PAGE: Final = "see https://learn.microsoft.com/azure/event-grid/system-topics"
_NEVER_A_VALUE: Final = {Kind.NULL, Kind.LIST, Kind.OBJECT}


def type_warnings(reading: Reading) -> Iterator[Finding]:
    """Yield a warning for each type of an Azure service that Event Grid's library does not know."""
    for route in reading.table.routes:
        named = [("event", route.event), *(("causes", cause.event) for cause in route.causes)]
        for key, event in named:
            if event.startswith(_AZURE) and event not in EVENT_TYPES:
                from azure.eventgrid import SystemEventNames  # noqa: PLC0415 - a slow import, rarely needed

                known = [each.value for each in SystemEventNames]
                if event not in known:
                    near = nearest(event, known)
                    advice = _TYPES_PAGE if near is None else f"did you mean '{near}'?"
                    message = "may be misspelled: azure-eventgrid knows no such event type"
                    yield warning(place_of(reading, route.name, key), Rule.UNKNOWN_TYPE, event, message, advice)


def condition_warnings(reading: Reading) -> Iterator[Finding]:
    """Yield a warning for each condition or part of it that can never be true, is always true, or always fails."""
    for route in reading.table.routes:
        if route.when is None:
            continue
        text, tree = route.when.text, route.when.tree
        place, known = place_of(reading, route.name, "when"), known_of(route)
        answers = {answer for (answer,) in truths([tree], known)}
        wrong = list(wrong_kinds(text, tree, known))
        yield from (warning(place, Rule.WRONG_FORM, *each) for each in wrong_forms(tree, known))
        if answers == {True}:
            advice = wrong[0][2] if wrong else "leave 'when' out, or compare something"
            yield warning(place, Rule.ALWAYS_TRUE, text, "is always true", advice)
        elif True not in answers:
            rule, message = Rule.NEVER_MATCHES, "can never be true, so the route never matches"
            if FAILED in answers:
                message = "can never be true, so the route never matches, and parks the events for which it fails"
            if answers == {FAILED}:
                rule = Rule.ALWAYS_PARKS
                message = "can never be evaluated, so the route parks every event that reaches it"
            yield warning(place, rule, text, message, why_never(text, tree, known))
        else:
            yield from (warning(place, Rule.WRONG_KIND, *each) for each in wrong)


def template_warnings(reading: Reading) -> Iterator[Finding]:
    """Yield a warning for each placeholder that can never find a single value, or has a part that always fails."""
    for route in reading.table.routes:
        for path, template in _templates(route):
            for part in template.parts:
                if not isinstance(part, Expression):
                    continue
                place, known = place_of(reading, *path), known_of(route)
                yield from (warning(place, Rule.WRONG_FORM, *each) for each in wrong_forms(part.tree, known))
                if kinds(part.tree, known) <= _NEVER_A_VALUE:
                    message = "never finds a single value, so the route parks every event that it matches"
                    advice = why_never(part.text, part.tree, known) or _single(part, known)
                    yield warning(place, Rule.ALWAYS_PARKS, part.text, message, advice)
                else:
                    wrong = wrong_kinds(part.text, part.tree, known)
                    yield from (warning(place, Rule.WRONG_KIND, *each) for each in wrong)


def pair_warnings(reading: Reading) -> Iterator[Finding]:
    """Yield a warning for each two enabled routes that may request the same run, for one event or for two."""
    on = [route for route in reading.table.routes if route.enabled]
    for first, second in combinations(on, 2):
        if _may_queue_the_same(first, second) and (finding := _overlap(reading, first, second)) is not None:
            yield finding
        elif first.event != second.event and _may_be_confused(first, second):
            yield _confusion(reading, first, second)


def known_of(route: Route) -> Known:
    """Return what is known about the events that reach a route."""
    return Known(route.event, with_children=route.include_child_runs)


def _templates(route: Route) -> Iterator[tuple[tuple[str, ...], Template]]:
    for key, templates in (("parameters", route.parameters), ("variables", route.variables)):
        for name, template in templates.items():
            yield (route.name, key, name), template
    by = None if route.gather is None else route.gather.by
    singles = (("once_per", route.once_per), ("cooldown_key", route.cooldown_key), ("gather by", by))
    for key, single in singles:
        if single is not None:
            yield (route.name, *key.split()), single


def _single(expression: Expression, known: Known) -> str:
    found = kinds(expression.tree, known)
    if found == {Kind.LIST}:
        return f"it is a list; join it: {{{{ join(',', {expression.text}) }}}}"
    return f"it is {' or '.join(sorted(found))}; use an expression that gives a single value" if found else ""


def _may_queue_the_same(first: Route, second: Route) -> bool:
    """Return whether the requests of two routes may be equal: their pipeline and all their fixed values are."""
    fixed = ("event", "organization_url", "project", "pipeline", "branch", "pipeline_version", "stages_to_skip")
    if any(getattr(first, key) != getattr(second, key) for key in fixed):
        return False
    first_texts, second_texts = _literals(first), _literals(second)
    return all(first_texts[name] == second_texts[name] for name in first_texts.keys() & second_texts.keys())


def _literals(route: Route) -> dict[tuple[str, str], str]:
    """Return the literal parameters and variables of a run. If they differ, two routes intend two runs."""
    return {
        (kind, name): template.text
        for kind, templates in (("parameter", route.parameters), ("variable", route.variables))
        for name, template in templates.items()
        if all(isinstance(part, str) for part in template.parts)
    }


def _may_be_confused(first: Route, second: Route) -> bool:
    """Return whether a run of one route may look like a run of the other.

    It does if it may have all parameters and variables of the other, and neither has a correlation parameter.
    """
    fixed = ("organization_url", "project", "pipeline", "pipeline_version", "stages_to_skip", "correlation_parameter")
    if first.correlation_parameter is not None or any(getattr(first, key) != getattr(second, key) for key in fixed):
        return False
    if None not in {first.branch, second.branch} and first.branch != second.branch:
        return False
    few, many = sorted((_values(first), _values(second)), key=len)
    return few.keys() <= many.keys() and all(_may_be_equal(few[name], many[name]) for name in few)


def _values(route: Route) -> dict[tuple[str, str], Template]:
    """Return the parameters and variables of a run by their names in lower case, since Azure Pipelines ignores case."""
    kinds = (("parameter", route.parameters), ("variable", route.variables))
    return {(kind, name.lower()): template for kind, templates in kinds for name, template in templates.items()}


def _may_be_equal(one: Template, other: Template) -> bool:
    """Return whether two templates may give the same text, as far as the text around their placeholders tells."""
    if all(isinstance(part, str) for part in (*one.parts, *other.parts)):
        return one.text == other.text
    begins, ends = (sorted((_literal(one, at), _literal(other, at)), key=len) for at in (0, -1))
    return begins[1].startswith(begins[0]) and ends[1].endswith(ends[0])


def _literal(template: Template, at: int) -> str:
    """Return the text before the first placeholder (0) or after the last one (-1)."""
    part = template.parts[at] if template.parts else ""
    return part if isinstance(part, str) else ""


def _confusion(reading: Reading, first: Route, second: Route) -> Finding:
    line = place_of(reading, first.name)[0]
    message = (
        f"may request the pipeline {second.pipeline} with the same values as '{first.name}' (line {line}), so after a "
        "lost answer, a run of one cannot be told from a run of the other"
    )
    advice = "set a correlation_parameter on both, or a parameter that differs"
    return warning(place_of(reading, second.name), Rule.AMBIGUOUS, second.name, message, advice)


def _overlap(reading: Reading, first: Route, second: Route) -> Finding | None:
    """Return the warning for two routes that may match one event; None if they exclude each other."""
    known = Known(first.event, with_children=first.include_child_runs or second.include_child_runs)
    trees = [_NO_CONDITION if each.when is None else each.when.tree for each in (first, second)]
    answers = truths(trees, known)
    if (True, True) not in answers:
        return None
    # A route may also match alone because only it includes child runs.
    first_alone = first.include_child_runs > second.include_child_runs or any(a is True is not b for a, b in answers)
    second_alone = second.include_child_runs > first.include_child_runs or any(b is True is not a for a, b in answers)
    # Warn about the later route, which was probably added last, unless it matches more events than the other.
    one, other = (second, first) if first_alone or not second_alone else (first, second)
    if first_alone and second_alone:
        rule, how = Rule.OVERLAP, "may match the same event as"
    else:
        rule, how = Rule.SHADOWED, "matches only events that are also matched by"
    line = place_of(reading, other.name)[0]
    message = f"{how} '{other.name}' (line {line}), and both request the pipeline {one.pipeline}"
    advice = "make their conditions exclude each other, or remove one"
    return warning(place_of(reading, one.name), rule, one.name, message, advice)
