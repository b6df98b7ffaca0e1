"""``manage.py test --update``: it changes what differs, and nothing else."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.builders import routes, run_completed
from tests.support.effort import amount
from tests.tools.conftest import Desk
from tools.errors import CommandFailed
from tools.routes.cases.playing import Play, Played, playing
from tools.routes.cases.reading import Case, read_cases
from tools.routes.cases.running import run, updated_text

FILE = "routes.test.yaml"
A = "name: a\nevent: RunCompleted\npipeline: p\nparameters: {one: '{{ run_id }}', two: 7, three: {k: [1, x]}}"
B = "name: b\nevent: RunCompleted\npipeline: q\nwhen: experiment_name == 'train'\nparameters: {x: '{{ data.x }}'}"
TRAIN = "{sample: RunCompleted, set: {data.runId: r1}}"
OTHER = "{sample: RunCompleted, set: {data.runId: r1, data.experimentName: other}}"
NOTHING = "{sample: ModelDeployed}"

CHANGES = """
- given: OTHER  # g
  expect:  # e
    a:  # a
      parameters:
        one: r2  # one
        two: 7
        # three
        three: {k: [1,   x]}
      pipeline: p
  # end
=>
- given: OTHER  # g
  expect:  # e
    a:  # a
      parameters:
        one: r1  # one
        two: 7
        # three
        three: {k: [1,   x]}
      pipeline: p
  # end
--
- {given: OTHER, expect: {a: {pipeline: 'q', branch: x}}}  # c
=>
- {given: OTHER, expect: {a: {pipeline: p, branch: main}}}  # c
--
- given: OTHER
  expect:
    a:
      parameters:
        one: |
          r2
          r3
        two: 8
        three:
          k: [1]
=>
- given: OTHER
  expect:
    a:
      parameters:
        one: r1
        two: '7'
        three:
          k: [1, x]
--
- given: OTHER
  expect:
    a:
      parameters:
        one: r1
        four: 4  # four
=>
- given: OTHER
  expect:
    a:
      parameters:
        one: r1
        two: '7'
        three:
          k:
          - 1
          - x
--
- given: TRAIN
  expect:
    a: {}   # all values

  # the end
- given: NOTHING
  expect: none
=>
- given: TRAIN
  expect:
    a: {}   # all values
    b: parked

  # the end
- given: NOTHING
  expect: none
--
- expect:
    b:
      pipeline: q
    # of a
    a: {}
  given: OTHER
=>
- expect:
    # of a
    a: {}
  given: OTHER
--
- {expect: {a: {}, b: queued}, given: OTHER}
=>
- {expect: {a: {}}, given: OTHER}
--
- given: NOTHING
  expect:   # e
    # of a
    a:
      pipeline: p   # p
  name: x
=>
- given: NOTHING
  expect: none   # e
    # of a   # p
  name: x
--
- given: OTHER
  expect: none  # e
  name: x
=>
- given: OTHER
  expect:  # e
    a:
      pipeline: p
      parameters:
        one: r1
        two: '7'
        three:
          k:
          - 1
          - x
  name: x
--
- {given: OTHER, expect: none}
=>
- {given: OTHER, expect: {a: {pipeline: p, parameters: {one: r1, two: '7', three: {k: [1, x]}}}}}
--
- given: NOTHING
  expect: none
  reason: odd  # why
=>
- given: NOTHING
  expect: none
  reason: no route handles ModelDeployed events  # why
--
- given: OTHER
  reason: odd  # why
  expect:
    a: {}
=>
- given: OTHER
  expect:
    a: {}
--
- reason: odd
  # expected
  expect: none
  given: OTHER
=>
- expect:
    a:
      pipeline: p
      parameters:
        one: r1
        two: '7'
        three:
          k:
          - 1
          - x
  given: OTHER
--
- given: TRAIN
  expect:
    a: {}
    b: {outcome: parked, reason: odd}
=>
- given: TRAIN
  expect:
    a: {}
    b: {outcome: parked, reason: 'parameter ''x'': ''data.x'' has no value in this event'}
--
- given:
    sample: RunCompleted
    set: {data.runId: r1, data.experimentName: other}
    after:
    - {sample: RunCompleted, set: {data.runId: r1, data.experimentName: other}, ago: 1h}
  expect:
    a:
      pipeline: p
=>
- given:
    sample: RunCompleted
    set: {data.runId: r1, data.experimentName: other}
    after:
    - {sample: RunCompleted, set: {data.runId: r1, data.experimentName: other}, ago: 1h}
  expect:
    a: duplicate
--
- given: NOTHING
  expect:
=>
- given: NOTHING
  expect: none
--
- given: NOTHING
=>
- given: NOTHING
  expect: none
--
- &case {given: NOTHING, expect: {a: {}}}
- *case
=>
- &case {given: NOTHING, expect: none}
- *case
--
- {given: NOTHING}
=>
- {given: NOTHING, expect: none}
--
# \u00e9\U0001f600
- name: \u00e9\U0001f600
  given: NOTHING
  expect: {a: {}}  # \u00e9\U0001f600
=>
# \u00e9\U0001f600
- name: \u00e9\U0001f600
  given: NOTHING
  expect: none  # \u00e9\U0001f600
"""
"""Cases before and after an update."""


def updated(text: str, play: Play) -> str:
    """Return the text after an update, in which all cases are right."""

    def results(each: str) -> Any:
        cases, problems = read_cases(each, Path(), ["a", "b"], may_lack_expect=True)
        assert problems == []
        return run(cases, play)

    new = updated_text(text, [result for result in results(text) if result.is_wrong])
    assert [result.differences for result in results(new) if result.is_wrong] == []
    return new


@pytest.fixture(scope="module")
def play() -> Iterator[Play]:
    """Plays each event only once."""
    known: dict[str, Played] = {}
    with playing(routes(A, B)) as found:

        def once(case: Case) -> Played:
            events = repr((case.event, case.earlier))
            return known.get(events) or known.setdefault(events, found(case))

        yield once


@pytest.mark.parametrize("change", CHANGES.strip().split("\n--\n"))
def test_only_what_differs_is_changed(play: Play, change: str) -> None:
    for name, event in {"TRAIN": TRAIN, "OTHER": OTHER, "NOTHING": NOTHING}.items():
        change = change.replace(name, event)
    before, after = change.split("\n=>\n")
    assert updated(f"cases:\n{before}\n", play) == f"cases:\n{after}\n"
    assert updated(f"cases:\n{before}", play) == f"cases:\n{after}"


@pytest.mark.parametrize(
    ("first", "second", "line"),
    [
        ("&x {a: {pipeline: q}}", "*x", 2),
        ("{a: &x {pipeline: q}}", "{a: *x}", 2),
        ("{a: &x parked}", "{a: *x}", 2),
        ("{a: {pipeline: &x p}}", "{a: {branch: *x}}", 3),
    ],
)
def test_what_an_alias_stands_for_is_not_changed(play: Play, first: str, second: str, line: int) -> None:
    text = f"cases:\n- {{given: {OTHER}, expect: {first}}}\n- {{given: {OTHER}, expect: {second}}}"
    with pytest.raises(CommandFailed, match=f"line {line}: '.*' is an alias or has an anchor, so other values depend"):
        updated(text, play)


class TestCommand:
    def test_the_file_is_written_and_the_changed_cases_are_named(self, desk: Desk) -> None:
        desk.routes("name: a\nevent: RunCompleted\npipeline: p")
        one, two = "{name: one, given: {sample: RunCompleted}, expect: none}", "{name: two, given: {file: e}}"
        before = f"cases:\r\n- {one}\r\n- {two}\r\n"
        desk.file(run_completed(), "e")
        path = desk.folder / FILE
        path.write_bytes(before.encode())
        selected = desk.run("test", "--update", "-k", "two")
        assert (selected.code, selected.out) == (0, "updated  two\nroutes.test.yaml: 1 case, 0 failed\n")
        new = "{name: two, given: {file: e}, expect: {a: {pipeline: p, parameters: {}}}}"
        assert path.read_bytes().decode() == before.replace(two, new)
        result = desk.run("test", "--update")
        assert result.out == "updated  one\nok       two\nroutes.test.yaml: 2 cases, 0 failed\n"
        written = path.read_bytes()
        assert b"expect: {a: {pipeline: p, parameters: {}}}}\r\n- {name: two" in written
        again = desk.run("test", "--update")
        assert (again.code, again.err, path.read_bytes()) == (0, "", written)
        assert desk.run("test", "--strict").code == 0

    def test_a_byte_order_mark_moves_nothing(self, desk: Desk) -> None:
        desk.routes("name: a\nevent: RunCompleted\npipeline: p")
        desk.file("\ufeffcases:\n- given: {sample: RunCompleted}\n  expect: none # why\n", FILE)
        assert desk.run("test", "--update").code == 0
        text = (desk.folder / FILE).read_text()
        assert text.startswith("cases:\n- given: {sample: RunCompleted}\n  expect: # why\n    a:\n")

    def test_a_comment_above_a_value_stays(self, desk: Desk) -> None:
        desk.routes("name: a\nevent: RunCompleted\npipeline: p")
        desk.file("cases:\n- given: {sample: RunCompleted}\n  expect: # why\n    # so\n    none # then\n", FILE)
        assert desk.run("test", "--update").code == 0
        text = (desk.folder / FILE).read_text()
        assert text == (
            "cases:\n- given: {sample: RunCompleted}\n  expect: # why\n    # so # then\n"
            "    a:\n      pipeline: p\n      parameters: {}\n"
        )

    def test_nothing_is_written_if_the_layout_makes_it_impossible(self, desk: Desk) -> None:
        text = f"cases:\n- {{given: {NOTHING}, expect: &x {{evaluate: {{}}}}}}\n- {{given: {TRAIN}, expect: *x}}\n"
        desk.file(text, FILE)
        desk.fails(2, "routes.test.yaml cannot be updated; correct it by hand: line 2: 'expect' is", "test", "--update")
        assert (desk.folder / FILE).read_text() == text


scalars = st.sampled_from(["r1", "p", "7", "7.5", "true", "null", "'7'", '"x: y"', "é", "{k: [1, x]}", "[]", "{}"])
parameters = st.dictionaries(st.sampled_from(["one", "two", "three", "four"]), scalars, max_size=4)
runs = st.one_of(
    st.sampled_from(["queued", "parked", "duplicate", "{}"]),
    st.fixed_dictionaries(
        {},
        optional={"pipeline": scalars, "parameters": parameters, "outcome": st.sampled_from(["parked", "queued"])},
    ),
)
expectations = st.one_of(
    st.sampled_from(["none", ""]), st.dictionaries(st.sampled_from(["a", "b"]), runs, min_size=1, max_size=2)
)
cases = st.fixed_dictionaries(
    {"given": st.sampled_from([TRAIN, OTHER, NOTHING])},
    optional={"name": st.just("x"), "reason": st.sampled_from(["odd", "no route"]), "expect": expectations},
)


def written(draw: Any, value: Any, column: int) -> str:
    """Return a value as YAML in a layout that is drawn: in braces, or in lines with comments between them."""
    if isinstance(value, str):
        return f" {value}"
    if not value or draw(st.booleans()):
        return " {" + ", ".join(f"{key}:{in_braces(each)}" for key, each in value.items()) + "}"
    comment = st.sampled_from(["", "", "  # comment", "\n", f"\n{' ' * column}# line"])
    return str(draw(comment)) + "".join(
        f"\n{' ' * column}{key}:{written(draw, each, column + draw(st.integers(1, 4)))}{draw(comment)}"
        for key, each in value.items()
    )


def in_braces(value: Any) -> str:
    if isinstance(value, str):
        return f" {value}"
    return " {" + ", ".join(f"{key}:{in_braces(each)}" for key, each in value.items()) + "}"


@st.composite
def case_files(draw: Any) -> str:
    drawn = draw(st.lists(cases, min_size=1, max_size=4))
    items = []
    for case in drawn:
        lines = [f"{key}:{written(draw, value, 6)}" for key, value in case.items()]
        items.append("  - " + "\n    ".join(lines))
    return "# head\ncases:\n" + "\n".join(items) + "\n"


@settings(max_examples=amount(60, 600), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case_files())
def test_an_update_makes_every_case_right_and_changes_nothing_the_second_time(play: Play, text: str) -> None:
    once = updated(text, play)
    assert updated(once, play) == once
    assert once.count("# head") == 1
    assert once.count("given:") == text.count("given:")
