"""Mistakes in routes.test.yaml: each is reported with its line, and no case is run."""

import os

import pytest

from tests.support.builders import run_completed
from tests.tools.conftest import Desk

FILE = "routes.test.yaml"
CASE = "cases:\n- given: {sample: RunCompleted}\n  expect: {evaluate: {}}\n"
LAUGHS = "\n".join(f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 9)}]" for n in range(1, 9))


def refused(desk: Desk, text: str) -> list[str]:
    """Run the cases, which must be refused, and return the mistakes."""
    desk.file(text, FILE)
    result = desk.run("test")
    assert (result.code, result.out) == (2, "")
    head, *mistakes = result.err.splitlines()
    assert head.startswith(f"manage.py: {FILE} has {len(mistakes)} mistake")
    return [mistake.strip().removeprefix(f"{FILE}:") for mistake in mistakes]


# fmt: off
MISTAKES = [
    ("a: [", "2:1: the file is not valid YAML: "),
    ("- a", "1:1: the file must have a list 'cases'; see docs/routes.md"),
    ("", "1:1: the file must have a list 'cases'"),
    ("cases: 7", "1:8: '7': cases must be a list"),
    ("cases: [7]", "1:9: '7': a case must be a mapping of keys to values"),
    ("cases: [{givn: 1, expect: none}]", "1:10: 'givn': a case has no such key; did you mean 'given'?"),
    ("cases: [{expect: none}]", "1:9: the case has no 'given'; give a sample or a file"),
    ("cases: [{given: {}, expect: none}]", "1:17: '{}': an event must have either 'sample' or 'file'"),
    ("cases: [{given: {sample: RunCompleted, file: two.json}, expect: none}]", "must have either 'sample' or"),
    ("cases:\n- given: {sample: RunComplete}\n  expect: none",
     "2:19: 'RunComplete': is not a sample event; did you mean 'RunCompleted'?"),
    ("cases: [{given: {file: no.json}, expect: none}]", "1:24: 'no.json': "),
    ("cases: [{given: {file: two.json}, expect: none}]", "must contain one event, which is a JSON object"),
    ("cases: [{given: {file: number.json}, expect: none}]", "must contain one event, which is a JSON object"),
    ("cases: [{given: {file: deep.json}, expect: none}]", "deep.json is nested too deeply"),
    ("cases: [{given: {file: /dev/zero}, expect: none}]", "1:24: '/dev/zero': is not a file; name a file with one"),
    ("cases: [{given: {file: pipe}, expect: none}]", "1:24: 'pipe': is not a file; name a file with one event"),
    ("cases: [{given: {file: .}, expect: none}]", "1:24: '.': is not a file; name a file with one event"),
    ("cases: [{given: {sample: RunCompleted, set: {a=b: 1}}, expect: none}]",
     "'a=b' must be a path such as data.runId"),
    ("cases: [{given: {sample: RunCompleted, set: {id.x: 1}}, expect: none}]",
     "1:52: '1': id.x: id is not an object in the event"),
    ("cases: [{given: {sample: RunCompleted, set: 7}, expect: none}]", "1:45: '7': set must be a mapping"),
    ("cases: [{given: {sample: RunCompleted, after: 7}, expect: none}]", "1:47: '7': after must be a list"),
    ("cases: [{given: {sample: RunCompleted, after: [{sample: RunCompleted}]}, expect: none}]",
     "1:48: the earlier event has no 'ago'; write how long ago it was, as in '2h'"),
    ("cases: [{given: {sample: RunCompleted, after: [{sample: RunCompleted, ago: 2}]}, expect: none}]",
     "1:76: '2': is not a duration; write '90s', '30m', '6h', '1h30m' or '2d'"),
    ("cases: [{given: {sample: RunCompleted, after: [{sample: RunCompleted, ago: 2h, after: []}]}, expect: none}]",
     "1:80: 'after': an earlier event has no such key; known: ago, file, sample, set"),
    ("cases: [{given: {sample: RunCompleted}}]",
     "1:9: the case has no 'expect'; write it, or let './manage.py test --update' do so"),
    ("cases: [{given: {sample: RunCompleted}, expect: nothing}]",
     "1:49: 'nothing': expect must be a mapping of routes, or 'none'"),
    ("cases: [{given: {sample: RunCompleted}, expect: {evaluat: {}}}]",
     "1:50: 'evaluat': there is no such route; did you mean 'evaluate'?"),
    ("cases: [{given: {sample: RunCompleted}, expect: {evaluate: {x: 1}}}]", "1:61: 'x': a route has no such key"),
    ("cases: [{given: {sample: RunCompleted}, expect: {evaluate: quued}}]",
     "1:60: 'quued': is not an outcome; did you mean 'queued'?"),
    ("cases: [{given: {sample: RunCompleted}, expect: {evaluate: {outcome: deferred}}}]",
     "1:70: 'deferred': is not an outcome; "),
    ("cases: [{given: {sample: RunCompleted}, expect: {evaluate: {outcome: }}}]", "has no value; give one"),
    ("cases: [{given: {sample: RunCompleted}, expect: {evaluate: {pipeline: !x 7}}}]", "must be a string, a number"),
    ("cases: [{name: [1], given: {sample: RunCompleted}, expect: none}]", "must be a single value, not a list"),
    # Duplicate keys, at each level.
    ("cases: []\ncases: []", "2:1: 'cases': this key appears twice in the file; remove one"),
    (f"{CASE}  given: {{file: x}}\n", "4:3: 'given': this key appears twice in a case; remove one"),
    ("cases: [{given: {sample: RunCompleted, sample: x}, expect: none}]", "1:40: 'sample': this key appears twice"),
    ("cases: [{given: {sample: RunCompleted, set: {id: 1, id: 2}}, expect: none}]", "1:53: 'id': this key appears"),
    ("cases: [{given: {sample: RunCompleted, set: {data: {a: 1, a: 2}}}, expect: none}]", "1:59: 'a': this key"),
    ("cases: [{given: {sample: RunCompleted}, expect: {evaluate: {}, evaluate: {}}}]", "'evaluate': this key"),
    ("cases: [{given: {sample: RunCompleted}, expect: {evaluate: {parameters: {a: 1, a: 2}}}}]", "'a': this key"),
    ("x: &x {id: 1}\ncases: [{given: {sample: RunCompleted, <<: *x}, expect: none}]", "2:40: '<<': given has no such"),
    # Files that would use up time or memory.
    ("cases: " + "[" * 100_000, "collections are nested more than 100 levels deep"),
    (f"x0: &x0 lol\n{LAUGHS}\ncases: *x8", "stands for too many values; write them out"),
    ("cases: &x [*x]", "the alias *x stands for too many values"),
]
# fmt: on


@pytest.mark.parametrize(("text", "mistake"), MISTAKES)
def test_a_mistake_is_shown_with_its_line(desk: Desk, text: str, mistake: str) -> None:
    desk.file(f"[{run_completed()},{run_completed()}]", "two.json")
    desk.file("[7]", "number.json")
    desk.file("[" * 100_000, "deep.json")
    os.mkfifo(desk.folder / "pipe")
    (found,) = refused(desk, text)
    assert mistake in found


def test_all_mistakes_are_shown(desk: Desk) -> None:
    text = "cases:\n- {given: {sample: x}, expect: {y: {}}}\n- {given: {}, expect: none}\n" + CASE.partition("\n")[2]
    assert [mistake[:4] for mistake in refused(desk, text)] == ["2:20", "2:33", "3:11"]


def test_no_value_of_an_event_can_stop_the_other_cases(desk: Desk) -> None:
    """The app parks what it cannot read, and a case may expect that."""
    text = CASE + "".join(
        f"- {{given: {{sample: RunCompleted, set: {{{changed}}}}}, expect: {{$unrouted: parked}}}}\n"
        for changed in (
            "id: 7",
            "data: [1]",
            "data.runId: {a: .nan}",
            "data.runId: null",
            f"data: {{x: {'9' * 999}.5}}",
        )
    )
    desk.file(text, FILE)
    result = desk.run("test")
    assert (result.code, result.out.splitlines()[-1]) == (0, "routes.test.yaml: 6 cases, 0 failed")


def test_an_event_that_only_tests_the_deployment(desk: Desk) -> None:
    case = "- {given: {sample: RunCompleted, set: {type: nextstage.Canary}}, expect: none, reason: only tests}\n"
    desk.file(CASE + case, FILE)
    assert desk.run("test").code == 0


def test_many_cases(desk: Desk) -> None:
    desk.file(CASE + CASE.partition("\n")[2] * 99, FILE)
    assert desk.run("test").out.splitlines()[-1] == "routes.test.yaml: 100 cases, 0 failed"


def test_an_anchor_saves_writing(desk: Desk) -> None:
    desk.file(f"{CASE.replace('given: ', 'given: &g ')}- given: *g\n  expect: {{evaluate: queued}}\n", FILE)
    assert desk.run("test").out.splitlines()[:2] == ["ok      1", "ok      2"]
