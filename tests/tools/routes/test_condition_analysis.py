"""The analysis says "never" only of what never is: held against conditions as they are really decided."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devstack.events import sample_names, sample_text
from handlers import NAMES
from shared.errors import ExpressionFailed
from shared.routing.templates import Expression
from tests.support.expressions import conditions
from tests.support.payloads import events_with_a_value_replaced
from tests.tools.events.test_values import meaning
from tests.tools.routes.test_possible_values import fits
from tools.routes.condition_analysis import Known, cases, may_be

PATHS = {
    event: [*names, "event.type", "event.subject", "data.runId", "data.RunId", "run_tags.team", "model_tags.stage"]
    for event, names in NAMES.items()
}
SAMPLES = [raw for raw in map(sample_text, sample_names()) if meaning(raw) is not None]


def scope_of(raw: str) -> tuple[str, dict[str, Any], bool] | None:
    """The event's type, what its conditions see, and whether it is a child run."""
    found = meaning(raw)
    if found is None:
        return None
    event, occurrence = found
    return event.name, {**occurrence.names, "event": event.envelope(), "data": event.data}, occurrence.is_child_run


def usable(event: str) -> list[str]:
    names = {*NAMES[event], "event", "data"}
    return [path for path in PATHS[event] if path.partition(".")[0] in names]


@st.composite
def conditions_and_events(draw: st.DrawFn) -> tuple[str, str, str]:
    raw = draw(st.sampled_from(SAMPLES) | events_with_a_value_replaced())
    found = scope_of(raw)
    if found is None:
        raw = SAMPLES[0]
        found = scope_of(raw)
    assert found is not None
    text = conditions(usable(found[0]))
    return raw, draw(text), draw(text)


@settings(max_examples=500, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(conditions_and_events())
def test_what_comes_of_conditions_was_foreseen_alone_and_together(drawn: tuple[str, str, str]) -> None:
    raw, first, second = drawn
    found = scope_of(raw)
    assert found is not None
    event, scope, is_child = found
    known = Known(event, with_children=is_child)
    trees = []
    real: list[tuple[str, Any]] = []
    for text in (first, second):
        expression = Expression(text, None)
        trees.append(expression.tree)
        real.append(outcome(expression, scope))
        alone = may_be(expression.tree, known)
        assert alone.may_fail if real[-1][0] == "failed" else any(fits(each, real[-1][1]) for each in alone.options)
    assert any(
        all(
            answer.may_fail if how == "failed" else any(fits(each, value) for each in answer.options)
            for answer, (how, value) in zip(case, real, strict=True)
        )
        for case in cases(trees, known)
    )


def outcome(expression: Expression, scope: dict[str, Any]) -> tuple[str, Any]:
    try:
        return "came", expression.evaluate(scope)
    except ExpressionFailed:
        return "failed", None


def answer(event: str, text: str, **values: Any) -> str:
    """``T`` where the condition may be true, ``F`` where it may be false, ``!`` where it may fail."""
    known = Known(event, values={tuple(name.split("__")): value for name, value in values.items()})
    found = may_be(Expression(text, None).tree, known)
    return "T" * found.may_be_true + "F" * found.may_be_false + "!" * (found.may_fail and not found.options)


@pytest.mark.parametrize(
    ("event", "text", "expected"),
    [
        ("RunCompleted", "experiment_name == 'train'", "TF"),
        ("RunCompleted", "experiment_name == 'a' && experiment_name == 'b'", "F"),
        ("RunCompleted", "experiment_name == 'a' || experiment_name != 'a'", "T"),
        ("RunCompleted", "run_tags.team == 'a' && !(run_tags.team == 'a')", "F"),
        ("RunCompleted", "run_tags.x && (run_tags.x == '' || run_tags.x == `null`)", "F"),
        ("RunCompleted", "run_id", "T"),
        ("RunCompleted", "run_id == ''", "F"),
        ("RunCompleted", "run_id == `3`", "F"),
        ("RunCompleted", "run_type == 'azureml.StepRun'", "F"),
        ("RunCompleted", "event.type == 'RunCompleted'", "F"),
        ("RunCompleted", "data.RunId == 'x'", "F"),
        ("RunCompleted", "!run_tags.team", "F"),
        ("RunCompleted", "!(run_tags.team)", "TF"),
        ("RunCompleted", "run_id.x", "F"),
        ("RunCompleted", "`false`", "F"),
        ("RunCompleted", "contains(run_id, 'x')", "TF"),
        ("RunCompleted", "contains(run_tags, 'x')", "!"),
        ("RunCompleted", "experiment_name == 'x' && length(experiment_name) > `3`", "TF"),
        ("RunCompleted", "run_tags.a[0].b", "TF"),
        ("RunStatusChanged", "run_status == 'Running'", "F"),
        ("RunStatusChanged", "run_status != 'Completed' && run_status != 'Failed' && run_status != 'Canceled'", "F"),
        ("RunStatusChanged", "monitor_threshold_breached == 'true'", "F"),
        ("ModelDeployed", "length(model_ids)", "T"),
        ("ModelDeployed", "model_ids == `3`", "F"),
        ("ModelDeployed", "model_ids[?@ == 'a']", "TF"),
        ("ModelRegistered", "model_version >= `3`", "!"),
        ("DatasetDriftDetected", "drift_coefficient", "T"),
        ("DatasetDriftDetected", "drift_coefficient > `0.3` && drift_coefficient < `0.2`", "F"),
        ("DatasetDriftDetected", "drift_coefficient > `0.3` && drift_coefficient < `0.4`", "TF"),
        ("DatasetDriftDetected", "drift_coefficient >= '0.3'", "!"),
        (
            "DatasetDriftDetected",
            "drift_coefficient > `1` || drift_coefficient <= `1`",
            "TF",
        ),  # not a number is neither
    ],
)
def test_what_is_seen(event: str, text: str, expected: str) -> None:
    assert answer(event, text) == expected


def test_what_is_known_of_an_event_counts() -> None:
    assert answer("RunCompleted", "experiment_name == 'train'", experiment_name="train") == "T"
    assert answer("RunCompleted", "experiment_name == 'train'", experiment_name="other") == "F"
    assert answer("ModelRegistered", "model_tags.stage == 'x'", model_tags__stage="x") == "T"
    assert answer("ModelRegistered", "model_tags.stage.deep", model_tags__stage="x") == "F"
    assert answer("ModelRegistered", "model_tags.a.b", model_tags__a={"b": 1}) == "T"


def test_very_many_cases_are_not_gone_through() -> None:
    text = " || ".join(f"(run_tags.k{n} == 'a' && run_tags.k{n} == 'b')" for n in range(8))
    assert answer("RunCompleted", text) == "TF", "no longer certain, and soon answered"
