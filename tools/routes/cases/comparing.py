"""Compares what a case expects with what the app does. Pure."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from shared.telemetry import Outcome
from tools.routes.cases.playing import Played
from tools.routes.cases.reading import NONE, Case, expected_run


class Difference(NamedTuple):
    """One difference, and the line of the expectation."""

    line: int
    text: str


class Observed(NamedTuple):
    """What a case should expect. A reason of None is left out."""

    expect: Any
    reason: str | None


def differences(case: Case, played: Played) -> list[Difference]:
    """Return how the app's decision differs from what is expected; an empty list if it does not."""
    return list(_differences(case, played))


def _differences(case: Case, played: Played) -> Iterator[Difference]:
    why_nothing = played.verdict.why_nothing
    why_not = {each.route: each.reason for each in played.verdict.why_not}
    expect = case.expect or {}
    for route, expected in expect.items():
        line = case.lines[route]
        if (run := played.runs.get(route)) is None:
            why = why_not.get(route) or why_nothing or "it is for other events"
            yield Difference(line, f"{route}: queues no run: {why}")
        else:
            yield from (Difference(line, f"{route}: {text}") for text in _of_run(expected_run(expected), run))
    for route, run in played.runs.items():
        if route not in expect:
            how = "" if run["outcome"] == Outcome.QUEUED else f": the event is {run['outcome']}: {run['reason']}"
            yield Difference(case.line, f"{route}: is not expected to match{how}")
    if played.runs and case.reason:
        yield Difference(case.line, f"a route matches, so there is no reason as expected: {case.reason}")
    elif case.reason not in why_nothing:
        yield Difference(case.line, f"the reason is not as expected: {why_nothing}")


def _of_run(expected: Mapping[str, Any], run: Mapping[str, Any]) -> Iterator[str]:
    if expected["outcome"] != run["outcome"]:
        reason = f": {run['reason']}" if run["reason"] else ""
        yield f"the event is {run['outcome']}, expected {expected['outcome']}{reason}"
        return
    if expected.get("reason", "") not in run["reason"]:
        yield f"the reason is not as expected: {run['reason']}"
    for key, value in expected.items():
        if key not in {"outcome", "reason"}:
            yield from _compared(key, value, run[key]) if key in run else [f"{key} is missing, expected {value!r}"]


def _compared(what: str, expected: Any, actual: Any) -> Iterator[str]:
    if not isinstance(expected, dict) or not isinstance(actual, dict):
        if not is_equal(expected, actual):
            yield f"{what} is {actual!r}, expected {expected!r}"
        return
    for name in {**expected, **actual}:
        if name not in actual:
            yield f"{what}: {name} is missing, expected {expected[name]!r}"
        elif name not in expected:
            yield f"{what}: {name} is {actual[name]!r}, but not expected"
        else:
            yield from _compared(f"{what}: {name}", expected[name], actual[name])


def is_equal(expected: Any, actual: Any) -> bool:
    """Return whether a value is as expected. Parameters are strings: ``7``, ``true`` and objects mean their JSON."""
    text = actual if isinstance(actual, str) else json.dumps(actual)
    if isinstance(expected, str):
        return expected == text
    try:
        found = json.loads(text.lower() if isinstance(expected, bool) else text)
    except ValueError:
        return False
    return json.dumps(found, sort_keys=True) == json.dumps(expected, sort_keys=True)


def observed(case: Case, played: Played) -> Observed:
    """Return what the case should expect, so that it has no differences. What is right stays as it is."""
    if not played.runs:
        is_right = not case.reason or case.reason in played.verdict.why_nothing
        return Observed(NONE, (case.reason if is_right else played.verdict.why_nothing) or None)
    known = case.expect or {}
    order = [*(route for route in known if route in played.runs), *played.runs]
    return Observed({route: _observed_run(known.get(route), played.runs[route]) for route in order}, None)


def _observed_run(known: str | Mapping[str, Any] | None, run: Mapping[str, Any]) -> Any:
    outcome = run["outcome"]
    if known is None or expected_run(known)["outcome"] != outcome:
        if outcome not in {Outcome.QUEUED, Outcome.GATHERED}:
            return outcome
        requested = {key: _written(run[key]) for key in ("pipeline", "parameters")}
        return requested if outcome == Outcome.QUEUED else {"outcome": outcome, **requested}
    if isinstance(known, str):
        return known
    values = {key: _updated(value, run[key]) for key, value in known.items() if key in run}
    if (reason := known.get("reason", "")) and reason in run["reason"]:
        values["reason"] = reason
    return values


def _updated(known: Any, actual: Any) -> Any:
    if isinstance(known, dict) and isinstance(actual, dict):
        order = [*(name for name in known if name in actual), *actual]
        return {
            name: _updated(known[name], actual[name]) if name in known else _written(actual[name]) for name in order
        }
    return known if is_equal(known, actual) else _written(actual)


def _written(value: Any) -> Any:
    """Return a value as a person would write it: a parameter that is an object or a list is JSON text."""
    if isinstance(value, dict):
        return {name: _written(each) for name, each in value.items()}
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, str) and value[:1] in {"{", "["}:
        try:
            parsed = json.loads(value)
        except ValueError:
            return value
        return parsed if is_equal(parsed, value) else value
    return value
