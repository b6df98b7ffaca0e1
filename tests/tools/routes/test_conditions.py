"""The analysis of conditions, compared with how the app evaluates them: "never" is only reported if it is true."""

import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devstack.events import sample_names, sample_text
from handlers import NAMES
from shared.errors import ExpressionFailed
from shared.routing.templates import Expression, is_true
from tests.support.effort import amount
from tests.support.expressions import LITERALS, conditions
from tests.support.payloads import events_with_a_value_replaced
from tests.tools.conftest import occurrence_of
from tools.routes.conditions import FAILED, Known, kinds, truths
from tools.routes.possible_values import Kind, kind_of

BELOW = ["event.type", "event.subject", "data.runId", "data.RunId"]
TAGS = ["run_tags.team", "run_tags.Team", "model_tags.stage", "model_tags.Stage"]
PATHS = {event: [*names, *BELOW, *TAGS] for event, names in NAMES.items()}
SAMPLES = [sample_text(name) for name in sample_names()]
VALUES = [*LITERALS, -1, 0.15, 0.4, math.inf, math.nan, "t", "trainx", "Failed\0", ["y"], [1], {"k": 1}, {"k": "x"}]


def known_and_scope(raw: str) -> tuple[Known, dict[str, Any]] | None:
    """What is known about an event from its type, and the scope of conditions; None if it is not an occurrence."""
    if (found := occurrence_of(raw)) is None:
        return None
    event, meaning = found
    scope = {**meaning.names, "event": event.envelope(), "data": event.data}
    return Known(event.name, with_children=meaning.is_child_run), scope


def usable(event: str) -> list[str]:
    names = {*NAMES[event], "event", "data"}
    return [path for path in PATHS[event] if path.partition(".")[0] in names]


@st.composite
def conditions_and_events(draw: st.DrawFn) -> tuple[Known, dict[str, Any], list[str]]:
    """Two conditions, and an event that is made from a sample or from any values."""
    if draw(st.booleans()):
        values = draw(st.fixed_dictionaries(dict.fromkeys("abc", st.sampled_from(VALUES))))
        paths = ["data.a", "data.b", "data.c", "data.a.k"]
        return Known("RunCompleted"), {"data": values}, draw(st.lists(conditions(paths), min_size=2, max_size=2))
    raw = draw(st.sampled_from(SAMPLES) | events_with_a_value_replaced())
    found = known_and_scope(raw) or known_and_scope(SAMPLES[0])
    assert found is not None
    texts = conditions(usable(found[0].event))
    return *found, draw(st.lists(texts, min_size=2, max_size=2))


@settings(max_examples=amount(60, long=1_000), database=None, suppress_health_check=list(HealthCheck))
@given(conditions_and_events())
def test_every_result_was_predicted_for_one_condition_and_for_both(
    drawn: tuple[Known, dict[str, Any], list[str]],
) -> None:
    known, scope, texts = drawn
    expressions = [Expression(text, None) for text in texts]
    answers = [answer_of(expression, scope) for expression in expressions]
    for expression, (truth, kind) in zip(expressions, answers, strict=True):
        assert (truth,) in truths([expression.tree], known)
        assert kind in kinds(expression.tree, known) or kind == FAILED
    together = truths([expression.tree for expression in expressions], known)
    assert tuple(truth for truth, _ in answers) in together


def answer_of(expression: Expression, scope: dict[str, Any]) -> tuple[bool | str, str]:
    try:
        value = expression.evaluate(scope)
    except ExpressionFailed:
        return FAILED, FAILED
    return is_true(value), kind_of(value)


def outcomes(event: str, text: str, **values: Any) -> str:
    """``T`` if the condition may be true, ``F`` if it may be false, ``!`` if it always fails."""
    known = Known(event, values={tuple(name.split("__")): value for name, value in values.items()})
    found = {answer for (answer,) in truths([Expression(text, None).tree], known)}
    return "T" * (True in found) + "F" * (False in found) + "!" * (found == {FAILED})


@pytest.mark.parametrize(
    ("event", "text", "expected"),
    [
        ("RunCompleted", "run_tags.x && (run_tags.x == '' || run_tags.x == `null`)", "F"),
        ("RunCompleted", "event.type == 'RunCompleted'", "F"),
        ("RunCompleted", "run_id.x", "F"),
        ("RunCompleted", "contains(run_id, 'x') && !contains(run_id, 'x')", "F"),
        ("RunCompleted", "experiment_name == 'x' && length(experiment_name) > `3`", "TF"),
        ("RunCompleted", "run_tags.a[0].b", "TF"),
        ("ModelDeployed", "length(model_ids)", "T"),
        ("ModelDeployed", "model_ids[?@ == 'a']", "TF"),
        ("DatasetDriftDetected", "drift_coefficient > `0.3` && drift_coefficient < `0.2`", "F"),
        ("DatasetDriftDetected", "drift_coefficient > `0.3` && drift_coefficient < `0.4`", "TF"),
        ("DatasetDriftDetected", "drift_coefficient > `1` || drift_coefficient <= `1`", "T"),
        ("DatasetDriftDetected", "data.driftCoefficient > `1` || data.driftCoefficient <= `1`", "TF"),  # NaN is neither
        ("RunCompleted", "run_id > 'a' && run_id < 'b'", "TF"),
        ("RunCompleted", "run_id > 'b' && run_id < 'a'", "F"),
        # Paths that are compared with each other
        ("RunCompleted", "run_id != experiment_id && run_id && experiment_id", "TF"),
        ("RunCompleted", "run_id != root_run_id && root_run_id != experiment_id && run_id != experiment_id", "TF"),
        ("RunCompleted", "run_id == experiment_id && run_id == 'a' && experiment_id == 'b'", "F"),
        ("RunCompleted", "data.a == data.b && data.a > `100` && data.b < `200`", "TF"),
        ("RunCompleted", "run_id > 'a' && run_id < root_run_id && root_run_id < event.id && event.id < 'b'", "TF"),
        ("RunStatusChanged", "experiment_name == run_status && experiment_name == 'Failed'", "TF"),
        ("RunStatusChanged", "experiment_name == run_status && !contains(['Completed', 'x'], run_status)", "TF"),
    ],
)
def test_possible_results(event: str, text: str, expected: str) -> None:
    assert outcomes(event, text) == expected


def test_empty_and_other_values_may_give_different_kinds() -> None:
    for operator in ("&&", "||"):
        condition = Expression(f"event.subject {operator} run_tags", None)
        assert kinds(condition.tree, Known("RunCompleted")) == {Kind.STRING, Kind.OBJECT}


def test_known_values_are_used() -> None:
    assert outcomes("RunCompleted", "experiment_name == 'train'", experiment_name="train") == "T"
    assert outcomes("RunCompleted", "experiment_name == 'train'", experiment_name="other") == "F"
    assert outcomes("ModelRegistered", "model_tags.stage.deep", model_tags__stage="x") == "F"
    assert outcomes("ModelRegistered", "model_tags.a.b", model_tags__a={"b": 1}) == "T"
    assert outcomes("ModelRegistered", "model_tags.STAGE == 'x'", model_tags__stage="x") == "T", "in any case"
    assert outcomes("ModelRegistered", "model_tags.STAGE == 'x'", model_tags__stage="y") == "F"
    exact = {"model_tags__stage": "x", "model_tags__STAGE": "y"}
    assert outcomes("ModelRegistered", "model_tags.stage == 'x' && model_tags.STAGE == 'y'", **exact) == "T"


def test_with_too_many_cases_anything_is_possible() -> None:
    text = " || ".join(f"(run_tags.k{n} == 'a' && run_tags.k{n} == 'b')" for n in range(9))
    assert outcomes("RunCompleted", text) == "TF"
