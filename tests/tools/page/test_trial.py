"""What is entered on the page Try is read and evaluated as the app does it."""

import json
import sys
from typing import Any

import pytest

from shared.routing.condition_parts import Answer, Part
from tests.support import ROOT
from tests.support.builders import GATHERS, event_text, run_completed
from tests.tools.conftest import Desk
from tools.actions.explanation_view import document
from tools.events.samples import sample_files
from tools.installation import Installation
from tools.page.trial import (
    MAX_CONDITION,
    MAX_EVENT_BYTES,
    MAX_EVENTS,
    TOO_LARGE,
    Entered,
    Fault,
    Result,
    evaluate,
    evaluate_condition,
    indented,
    read_events,
)


def fault(text: str) -> Fault:
    found = read_events(text)
    assert isinstance(found, Fault)
    return found


def tried(desk: Desk, text: str, condition: str = "") -> Result:
    return evaluate(Installation(desk.folder, desk.environment), text, condition)


class TestReading:
    @pytest.mark.parametrize("text", ["", " \r\n", "\ufeff"])
    def test_nothing_was_entered(self, text: str) -> None:
        assert read_events(text) is None

    @pytest.mark.parametrize(
        ("text", "what", "place", "marked"),
        [
            ('{\r\n  "a": 1\r\n  "b": 2\r\n}', "the text is not JSON: Expecting ',' delimiter", (3, 3), '"'),
            ("{} {}", "the text is not JSON: Extra data", (1, 4), "{"),
            ('{"a": "x\x00"}', "the text is not JSON: Invalid control character at", (1, 9), r"\u0000"),
            ("[1,\n", "the text is not JSON: Expecting value", (2, 1), ""),
            ("7", "the text contains neither an event nor an array of events", (0, 0), ""),
            ("[]", "the array is empty", (0, 0), ""),
            ("[" * 100_000, "the text is nested too deeply", (0, 0), ""),
            ("x" * (MAX_EVENT_BYTES + 1), TOO_LARGE, (0, 0), ""),
        ],
    )
    def test_a_fault_has_a_place(self, text: str, what: str, place: tuple[int, int], marked: str) -> None:
        found = fault(text)
        assert (found.what, (found.line, found.column), found.at) == (what, place, marked)
        assert found.advice

    def test_a_number_with_too_many_digits(self) -> None:
        assert "Exceeds the limit (4300 digits)" in fault('{"id": ' + "9" * 5000 + "}").what

    def test_only_the_surroundings_of_a_fault_are_shown(self) -> None:
        found = fault('{"a": "' + "x" * 5000 + '" "b": "' + "y" * 5000 + '"}')
        assert (len(found.before), found.at, len(found.after)) == (60, '"', 60)
        assert found.before.endswith('x" ')

    def test_one_event_is_taken_as_it_is(self) -> None:
        for text in ('{"data": 1e999}', ' {"data": "\\u0000"}', '{"data": "é"}'):
            found = read_events(text)
            assert isinstance(found, Entered)
            assert ([each.text for each in found.letters], found.total) == ([text], 1)

    def test_several_events(self) -> None:
        found = read_events(json.dumps([7, {"id": "a", "deadLetterReason": "Expired"}, *[{}] * 30]))
        assert isinstance(found, Entered)
        assert (len(found.letters), found.total) == (MAX_EVENTS, 32)
        assert [(each.event_id, each.why, each.text) for each in found.letters[:2]] == [
            ("-", "-", "7"),
            ("a", "Expired", '{"id": "a", "deadLetterReason": "Expired"}'),
        ]

    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            ('{"a": [1, "é"]}', '{\n  "a": [\n    1,\n    "é"\n  ]\n}'),
            ('{"a": 1e999}', '{"a": 1e999}'),
            ('{"a": "\\ud800"}', '{"a": "\\ud800"}'),
            ("not JSON", "not JSON"),
            ("[" * 100_000, "[" * 100_000),
        ],
    )
    def test_an_event_is_indented_unless_that_changes_it(self, text: str, shown: str) -> None:
        assert indented(text) == shown


class TestEvaluating:
    def test_the_samples_of_all_types_as_explain_does(self, desk: Desk) -> None:
        desk.settings = {"ROUTES_FILE": str(ROOT / "routes.yaml")}
        samples = [json.dumps(each) for each in sample_files().values()]
        expected = desk.run("explain", "--json", desk.file(f"[{', '.join(samples)}]")).json
        for sample, one in zip(samples, expected, strict=True):
            result = tried(desk, sample)
            assert (result.problems, result.fault) == ((), None)
            outcomes = [f"{each['route']}: {each['outcome']}" for each in one["routes"] if each["outcome"]]
            assert result.summary == (", ".join(outcomes) or "would ignore")
            ((explained, condition),) = result.tried
            assert json.loads(json.dumps(document(explained, "Basic"))) == {**one, "file": ""}
            assert condition is None

    def test_several_events(self, desk: Desk) -> None:
        events = [run_completed("a"), event_text("Other", {}), "7", *[run_completed("b")] * MAX_EVENTS]
        result = tried(desk, f"[{', '.join(events)}]")
        assert result.summary == "20 events: 1 would ignore, 1 would park, 18 would queue"
        assert result.problems == ("only the first 20 of 23 events are evaluated",)

    def test_nothing_and_faults(self, desk: Desk) -> None:
        assert tried(desk, " ") == Result()
        assert tried(desk, "[]") == Result("the array is empty", fault=Fault("the array is empty", "add an event"))

    def test_wrong_routes(self, desk: Desk) -> None:
        desk.routes("name: a\nevent: RunComplete\npipeline: p")
        summary, problems, found, events = tried(desk, run_completed())
        assert (summary, found, events) == ("the routes cannot be used", None, ())
        assert [each.strip().partition(" ")[0] for each in problems] == ["routes.yaml", "routes.yaml:5:12:"]

    def test_a_journal_that_does_not_answer(self, desk: Desk) -> None:
        (desk.folder / "journal.sqlite3").write_bytes(b"not a journal" * 100)
        result = tried(desk, run_completed())
        assert result.summary == "evaluate: matches"
        assert len(result.problems) == 1
        assert "journal.sqlite3" in result.problems[0]

    def test_a_route_that_gathers_without_a_resume_queue(self, desk: Desk) -> None:
        desk.routes(GATHERS)
        result = tried(desk, run_completed())
        assert result.summary == "gathers: would gather"
        (problem,) = result.problems
        assert "'gather' needs a resume queue" in problem
        assert "so the app does not start with these settings; set RESUME_STORAGE" in problem

    def test_any_depth(self, desk: Desk) -> None:
        """Python reads some levels more than what it writes, depending on the stack."""
        for depth in range(sys.getrecursionlimit() - 200, sys.getrecursionlimit(), 10):
            data: Any = '{"runId": "a", "x": ' + "[" * depth + "]" * depth + "}"
            result = tried(desk, event_text("RunCompleted", {}).replace('"data": {}', f'"data": {data}'), "data.x")
            assert result.summary


class TestConditions:
    def part(self, desk: Desk, condition: str, text: str = "") -> Part | str | None:
        ((_, found),) = tried(desk, text or run_completed("a"), condition).tried
        return found

    def test_each_part_has_an_answer(self, desk: Desk) -> None:
        found = self.part(desk, "run_id == 'b' && experiment_name == 'train'")
        assert isinstance(found, Part)
        assert found.answer is Answer.FALSE
        assert [(each.text, each.answer, dict(each.seen)) for each in found.parts] == [
            ("run_id == 'b'", Answer.FALSE, {"run_id": "a"}),
            ("experiment_name == 'train'", Answer.NOT_REACHED, {"experiment_name": "train"}),
        ]

    @pytest.mark.parametrize(
        ("condition", "problem"),
        [
            ("run_idd == 'a'", "uses the name 'run_idd', which does not exist here; did you mean 'run_id'?"),
            ("run_id ==", "is not JMESPath"),
            ("x" * (MAX_CONDITION + 1), "the condition has 2,001 characters; 2,000 are allowed"),
            ("!" * MAX_CONDITION + "a", "has 2,001 characters"),
            ("(" * 900 + "a" + ")" * 900, "is nested too deeply"),
        ],
    )
    def test_what_is_wrong_with_it(self, desk: Desk, condition: str, problem: str) -> None:
        found = self.part(desk, condition)
        assert isinstance(found, str)
        assert problem in found

    def test_events_on_which_no_condition_is_evaluated(self, desk: Desk) -> None:
        running = event_text("RunStatusChanged", {"runId": "a", "runStatus": "Running"})
        for text, reason in ((running, "is not final"), ("{}", "the event cannot be read")):
            found = self.part(desk, "run_id", text)
            assert isinstance(found, str)
            assert found.startswith("no condition is evaluated on this event: ")
            assert reason in found

    def test_a_type_that_no_route_handles(self, desk: Desk) -> None:
        verdict = Installation(desk.folder, desk.environment).decide(event_text("com.example.x", {"a": 3}))
        found = evaluate_condition("data.a == `3`", verdict)
        assert isinstance(found, Part)
        assert found.answer is Answer.TRUE


def test_it_tells_what_the_journal_holds(desk: Desk) -> None:
    desk.deliver()
    ((explained, _),) = tried(desk, run_completed()).tried
    (record,) = desk.records
    assert [each.journal_state and each.journal_state.record for each in explained.routes] == [record]
