"""The page Try: works as a form, shows what the command explain shows, and changes nothing."""

import json
import re
from html import unescape

import pytest

from shared.events.event import type_of
from tests.support import ROOT
from tests.support.builders import event_text, run_completed
from tests.support.canaries import leaks
from tests.tools.conftest import RIGHT, TRIAGE, Desk
from tests.tools.page.conftest import ORIGIN, Browser
from tools.events.samples import SAMPLE_NAMES, sample_files

SAMPLES = (
    *("run-completed", "run-completed-automl-child", "run-status-changed", "model-registered", "model-deployed"),
    *(
        "model-registered-unsafe-version",
        "dataset-drift-detected",
        "blob-created-data-lake-open",
        "orders-landed.cloud",
    ),
)


def entered(browser: Browser, event: str, condition: str = "") -> str:
    """Return the page after this was entered, with entities decoded."""
    answer = browser.post("/try", {"event": event, "condition": condition})
    assert answer.status_code == 200
    assert leaks(answer.text) == []
    return unescape(answer.text)


def test_it_begins_with_an_empty_form(browser: Browser) -> None:
    text = browser.get("/try").text
    assert "Enter an event, or take a sample." in text
    for name in sample_files():
        assert f"<option>{name}</option>" in text


def test_each_sample_has_a_link(desk: Desk, browser: Browser) -> None:
    (desk.folder / "routes.yaml").write_text((ROOT / "routes.yaml").read_text())
    samples = {name: event for name, event in sample_files().items() if name in SAMPLES}
    expected = desk.run("explain", "--json", desk.file(json.dumps(list(samples.values())))).json
    for (name, sample), one in zip(samples.items(), expected, strict=True):
        answer = browser.get(f"/try?sample={name}")
        assert answer.status_code == 200
        text = unescape(answer.text)
        assert f"<option selected>{name}</option>" in text
        assert f">\n{json.dumps(sample, indent=2, ensure_ascii=False)}</textarea>" in text
        words = [one["why_nothing"], *(each["reason"] for each in one["routes"] if each["asked"])]
        words += [each["outcome"] or "" for each in one["routes"]]
        assert [each for each in words if each not in text] == []


def test_an_event_comes_back_as_it_was_entered(browser: Browser) -> None:
    event, condition = run_completed(experimentName="good\u202edab"), "experiment_name == 'good\u202edab'"
    event = json.dumps(json.loads(event), ensure_ascii=False)
    text = entered(browser, event, condition)
    assert f">\n{event}</textarea>" in text
    assert f'value="{condition}"' in text
    assert r"experiment_name == 'good\u202edab'</code>" in text


def test_a_condition_of_a_route_is_offered_as_it_is(browser: Browser, desk: Desk) -> None:
    condition = "experiment_name == 'good\u202edab'"
    desk.routes(f"{RIGHT}\nwhen: {condition}")
    assert f'<option value="{condition}">' in unescape(browser.get("/try?sample=run-completed").text)


def test_each_event_type_has_a_sample(browser: Browser) -> None:
    for name in (*SAMPLE_NAMES, "com.example.orders.landed"):
        text = unescape(browser.get(f"/try?sample={name}").text)
        assert f'"eventType": "{type_of(name)}"' in text


def test_the_event_of_a_record(desk: Desk, browser: Browser) -> None:
    desk.deliver(run_completed("x"))
    (record,) = desk.records
    address = f"/try/{record.key.route}/{record.key.key}"
    assert f'<a href="{address}">' in browser.get(f"/record/{record.key.route}/{record.key.key}").text
    text = unescape(browser.get(address).text)
    assert f">\n{json.dumps(json.loads(record.entry.event), indent=2)}</textarea>" in text
    assert '<p id="summary" role="status" aria-live="polite">evaluate: ' in text
    answer = browser.get("/try/evaluate/nope")
    assert answer.status_code == 404
    assert "The journal has no such event." in answer.text


def test_an_unknown_sample(browser: Browser) -> None:
    answer = browser.get("/try?sample=run-complete")
    assert answer.status_code == 400
    assert "there is no sample 'run-complete'; did you mean 'run-completed'?" in unescape(answer.text)


def test_a_changed_event(desk: Desk, browser: Browser) -> None:
    desk.routes(TRIAGE + "\nwhen: experiment_name == 'train' && run_id != 'x'")
    text = entered(browser, run_completed("x"))
    assert "nothing to do: no route matches; triage: when is not true" in text
    assert "<span class=\"state state-false\">false</span> <code>run_id != 'x'</code>" in text
    text = entered(browser, run_completed("y"))
    assert '<p id="summary" role="status" aria-live="polite">triage: would queue</p>' in text
    assert "POST http://127.0.0.1:9/contoso/mlops/_apis/pipelines/{id of triage}/runs?api-version=7.1\n" in text
    assert "Authorization: Basic ***" in text
    assert '"templateParameters": {"runId": "y", "runStatus": "Failed"}' in text
    assert "no record: this occurrence is new on this route" in text


def test_the_conditions_of_routes_are_offered_and_evaluated(desk: Desk, browser: Browser) -> None:
    condition = "experiment_name == 'train' && run_id != 'x'"
    desk.routes(f"{TRIAGE}\nwhen: {condition}")
    assert f'<option value="{condition}">triage</option>' in unescape(browser.get("/try").text)
    text = entered(browser, run_completed("x"), "experiment_name == 'other'")
    assert "value=\"experiment_name == 'other'\"" in text
    assert '<code>experiment_name</code> is <code>"train"</code>' in text
    assert "did you mean 'run_id'?" in entered(browser, run_completed("x"), "run_idd")


def test_a_delivered_event_has_a_link_to_its_record(desk: Desk, browser: Browser) -> None:
    desk.deliver()
    (record,) = desk.records
    text = entered(browser, run_completed())
    assert f'<a class="key" href="/record/{record.key.route}/{record.key.key}">' in text


def test_nothing_of_an_event_becomes_an_element(desk: Desk, browser: Browser) -> None:
    desk.routes(TRIAGE + "\nwhen: run_tags.a != 'x' && contains(run_id, '>')", RIGHT)

    def hostile(text: str) -> str:
        data = {"experimentName": text, "runId": text, "runTags": {text: text, "a": text}}
        return event_text("RunCompleted", data, id=text, subject=text, deadLetterReason=text)

    def elements(text: str) -> list[str]:
        answer = browser.post("/try", {"event": hostile(text), "condition": "data"})
        return re.findall(r"<[a-z][^>]*>", answer.text.partition("<footer>")[0])

    assert elements("<script>alert(1)</script>\"'>{{ 7 * 7 }}") == elements("ab cd > e")


@pytest.mark.parametrize("text", ["\n\n{", '{"a": "</textarea><script>alert(1)</script>"'])
def test_what_was_entered_stays(browser: Browser, text: str) -> None:
    raw = browser.post("/try", {"event": text}).text
    assert "<script>" not in raw
    assert f">\n{text}</textarea>" in unescape(raw)


def test_wrong_json_is_marked(browser: Browser) -> None:
    text = entered(browser, '{\n  "id": 1\n  "data": {}\n}')
    assert ">the text is not JSON: Expecting ',' delimiter</p>" in text
    assert ">Line 3, column 3: correct the marked place</p>" in text
    assert '<code>  <mark>"</mark>data": {}</code>' in text
    assert 'aria-invalid="true"' in text


def test_wrong_routes(desk: Desk, browser: Browser) -> None:
    desk.routes("name: a\nevent: RunComplete\npipeline: p")
    text = entered(browser, run_completed())
    assert "the routes cannot be used" in text
    assert "did you mean 'RunCompleted'?" in text


def test_nothing_changes(desk: Desk, browser: Browser) -> None:
    entered(browser, run_completed())
    assert not (desk.folder / "journal.sqlite3").exists()
    desk.deliver()
    before = desk.records
    entered(browser, run_completed())
    entered(browser, run_completed("run-2"))
    assert desk.records == before


def test_a_large_event(browser: Browser) -> None:
    answer = browser.post("/try", {"event": "x" * 10_000_000})
    assert answer.status_code == 413
    too_large = entered(browser, "x" * 1_100_000)
    assert "the text has more than 1,048,576 bytes, which Event Grid does not accept" in too_large


def test_only_our_own_form_is_evaluated(browser: Browser) -> None:
    answer = browser.client.post("/try", base_url=ORIGIN, headers={"Origin": ORIGIN}, data={"event": run_completed()})
    assert answer.status_code == 403
    assert "would queue" not in answer.text
