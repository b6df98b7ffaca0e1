"""The event and the request of a record as text, by value."""

import json

import pytest

from shared.azure_devops.runs import RunRequest
from shared.journal.records import NO_EVENT, Entry, cut_remark
from tests.support.journal.records import record
from tools.page.record.documents import MAX_SHOWN, Document, event_document, kept_document, request_document

REQUEST = RunRequest("https://dev.azure.com/contoso", "ml ops", 11, "main", {"runId": "run-1"})


def of_event(text: str) -> Document:
    return event_document(record(entry=Entry("id", "type", "", text)))


def test_json_has_one_value_a_line() -> None:
    assert of_event('{"b":[1,{"ü":null}]}').text.splitlines() == [
        *("{", '  "b": [', "    1,", "    {", '      "ü": null', "    }", "  ]", "}")
    ]


@pytest.mark.parametrize("text", ["", "no JSON", "{", '{"a": 1} {"b": 2}', "9" * 5000])
def test_anything_else_stays_as_it_is(text: str) -> None:
    assert of_event(text) == Document(text)


def test_what_may_hide_or_reorder_text_is_escaped() -> None:
    assert of_event('{"a": "\\u202eb"}').text == '{\n  "a": "\\u202eb"\n}'
    assert of_event("a\x00\x1b[31m\u2066b").text == r"a\u0000\u001b[31m\u2066b"


def test_deep_nesting() -> None:
    assert of_event("[" * 20 + "]" * 20).text.count("\n") == 38
    for depth in (900, 100_000):
        assert of_event("[" * depth + "]" * depth).text.startswith("[")
    many = of_event("[" * 300 + "1," * 100_000 + "1" + "]" * 300)
    assert (len(many.text), many.remark) == (MAX_SHOWN, "The first 100,000 characters are shown.")


def test_a_cut_event_says_so() -> None:
    cut = '{"a": 1' + cut_remark(7, 900)
    assert of_event(cut) == Document(
        cut, "The journal has only the beginning of it, because it is too long for a record."
    )


def test_a_long_event_is_shown_in_part() -> None:
    found = of_event("x" * (MAX_SHOWN + 2))
    assert (len(found.text), found.remark) == (MAX_SHOWN, "The first 100,000 characters are shown.")


def test_the_request_as_it_is_sent() -> None:
    found = request_document(record(entry=Entry("id", "type", "", "", REQUEST.to_json())), "7.0", "Basic")
    first, *headers = found.text.split("\n{")[0].splitlines()
    assert first == "POST https://dev.azure.com/contoso/ml%20ops/_apis/pipelines/11/runs?api-version=7.0"
    assert "Authorization: Basic ***" in headers
    assert json.loads(found.text[found.text.index("\n{") :])["templateParameters"] == {"runId": "run-1"}
    named = record(entry=Entry("id", "type", "", "", REQUEST._replace(pipeline="\\a\\b").to_json()))
    assert "/pipelines/{id of \\a\\b}/runs" in request_document(named, "7.1", "Basic").text


def test_without_a_request_or_with_a_part_of_it() -> None:
    nothing = Document(remark="No request could be built from the event, so nothing was sent.")
    assert request_document(record(entry=Entry("id", "type", "", "")), "7.1", "Basic") == nothing
    cut = REQUEST.to_json()[:20] + cut_remark(20, 200)
    found = request_document(record(entry=Entry("id", "type", "", "", cut)), "7.1", "Basic")
    assert (found.text, found.remark.startswith("The journal has only the beginning")) == (cut, True)


def test_the_token_of_a_waiting_task_is_masked() -> None:
    wait = record("1", "$wait.1", entry=NO_EVENT, document='{"run_id": "r", "sealed": "secret"}')
    assert '"sealed": "***"' in kept_document(wait).text
    assert "secret" not in kept_document(wait).text
