"""The possible values in an analysis include every value that the handlers produce."""

from typing import Any

from hypothesis import HealthCheck, given, settings

from handlers import NAMES
from shared.events.event import ENVELOPE_NAMES, AmlEvent
from tests.support.effort import amount
from tests.support.payloads import SAMPLES, payloads
from tests.tools.conftest import occurrence_of
from tools.routes.event_values import Path, form_of, options
from tools.routes.forms import ANY
from tools.routes.possible_values import ANYTHING, NULL, Exactly, fits


def test_every_value_from_a_handler_is_described() -> None:
    seen: set[str] = set()

    @settings(max_examples=amount(400, long=2_000), database=None, suppress_health_check=list(HealthCheck))
    @given(payloads)
    def check(raw: str) -> None:
        if (found := occurrence_of(raw)) is None:
            return
        event, occurrence = found
        seen.add(event.name)
        for name, value in occurrence.names.items():
            assert_described(event, (name,), value)
        for name, value in event.envelope().items():
            assert_described(event, ("event", name), value)
        assert tuple(occurrence.names) == NAMES[event.name]
        for name, value in event.data.items():
            assert_described(event, ("data", name), value)

    check()
    assert seen == set(NAMES)


def test_every_sample_is_in_the_declared_forms() -> None:
    seen: set[Path] = set()
    for raw in SAMPLES:
        if (found := occurrence_of(raw)) is not None:
            event, occurrence = found
            values: dict[Path, Any] = {(name,): value for name, value in occurrence.names.items()}
            values |= {("event", name): value for name, value in event.envelope().items()}
            for path, value in values.items():
                form = form_of(event.name, path)
                if form is not None and value is not None:
                    seen.add(path)
                    assert form.of(value) == value, path
    assert {("extension",), ("path",), ("etag",), ("model_id",), ("event", "workspace")} <= seen


def test_no_form_changes_what_stands_for_any_string() -> None:
    """What stands for the rest of a string must not cause a finding."""
    names: list[tuple[str, Path]] = [(event, (name,)) for event, declared in NAMES.items() for name in declared]
    names += [("RunCompleted", ("event", name)) for name in ENVELOPE_NAMES]
    forms = [form for event, path in names if (form := form_of(event, path)) is not None]
    assert len(forms) >= 12
    assert all(form.of(ANY) == ANY for form in forms)


def assert_described(event: AmlEvent, path: tuple[str, ...], value: Any) -> None:
    found = options(event.name, path, with_children=True)
    assert any(fits(option, value) for option in found), (path, value)


def test_the_envelope_is_described() -> None:
    for name in ENVELOPE_NAMES:
        assert len(options("RunCompleted", ("event", name), with_children=True)) <= 2


def test_the_data_of_any_event_may_be_anything() -> None:
    for path in (("data",), ("data", "region"), ("data", "region", "x")):
        assert options("com.example.landed", path, with_children=True) == ANYTHING
    assert options("com.example.landed", ("event", "type"), with_children=True) == (Exactly("com.example.landed"),)


def test_nothing_is_below_a_value_that_is_not_an_object() -> None:
    for path in (("run_id", "x"), ("event", "id", "x"), ("run_tags", "a", "b")):
        found = options("RunCompleted", path, with_children=True)
        assert found == (NULL,)
    for path in (("run_tags", "a"), ("data", "runTags", "a")):
        assert len(options("RunCompleted", path, with_children=True)) > 1
