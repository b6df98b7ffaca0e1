"""The demo shows all outcomes, and its verdict reports failures."""

import os
import re
import signal
import subprocess
import sys
from datetime import timedelta
from io import StringIO

import pytest
import yaml
from rich.console import Console

from devstack.demo.blobs import BLOBS, REPEATED, blobs, files_per_run, with_new_data
from devstack.demo.books import Comparison, compare, expected_runs
from devstack.demo.event_grid import Delivery
from devstack.demo.outage import came_back
from devstack.demo.report import Report
from devstack.demo.waits import completed_as_expected
from devstack.events import sample_names, sample_text
from shared.azure_devops.runs import RunRequest
from shared.events.event import parse_event
from tests.support import ROOT
from tests.support.builders import routes


def test_it_succeeds_and_shows_every_outcome_with_its_reason_at_80_columns() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "devstack.demo"],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "80"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert [line for line in lines if len(line) > 80] == []
    text = " ".join(result.stdout.split())
    assert text.endswith(
        f"demo: {len(sample_names()) + BLOBS} events delivered, 13 pipeline runs queued, 0 lost, 0 duplicated "
        "demo: 40 blobs landed within a second, 8 of them were delivered twice; 1 retraining was queued for 40 files, "
        "although the app was killed "
        "demo: 2 events arrived while Azure DevOps was down, 2 came back without another delivery, although the app "
        "was killed "
        "demo: 2 pipelines waited without an agent, 2 of their tasks completed exactly once "
        "demo: next, write your own route in 10 minutes: docs/first-route.md "
        "demo: to see all of this in your browser: make demo PAGE=1"
    )
    for shown in (
        "found in Azure DevOps after the answer was lost",
        "HTTP 429, throttled for 1 s",
        "when is not true: model_tags.stage == 'candidate'",
        "'$(' must never reach",
        "is Running, which is not final",
        "was queued within this cooldown",
        "set include_child_runs: true to include it",
        "retrain-on-monitor-breach: queued, retraining run ",
        "smoke-test-after-deployment: queued, smoke-test run ",
        "because the last 5 requests had no answer (latest: no connection: POST",
        "retrain-on-new-data: gathered, 40 times event ",
        "retrain-on-new-data: duplicate, 8 times already gathered",
        "retrain-on-new-data: queued, retraining run ",
    ):
        assert shown in text
    shown_events = [*sample_names(), "40 blobs in several folders"]
    assert [line.partition(":")[0] for line in lines if ": answered " in line] == shown_events
    assert "40 blobs in several folders: answered 202 x48" in lines
    delivered_three_times = next(line for line in lines if line.startswith("model-registered:"))
    assert sum(int(count or 1) for count in re.findall(r"202(?: x(\d))?", delivered_three_times)) == 3


@pytest.mark.parametrize("moment", ["starting the emulator", f"delivering {len(sample_names())} events"])
@pytest.mark.parametrize("whole_group", [True, False], ids=["terminal", "process"])
def test_it_can_be_interrupted_at_any_time(moment: str, whole_group: bool) -> None:
    """A terminal sends the signal to all processes of the group."""
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "devstack.demo"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as demo:
        assert demo.stdout is not None
        next(line for line in demo.stdout if moment in line)
        (os.killpg if whole_group else os.kill)(demo.pid, signal.SIGINT)
        output = demo.stdout.read()
        assert (demo.wait(60), output) == (-signal.SIGINT, "demo: interrupted\n")  # a shell shows 130
    with pytest.raises(ProcessLookupError):
        os.killpg(demo.pid, 0)  # nothing is left


def task(result: str = "succeeded", *, completions: int = 1) -> dict[str, object]:
    return {"state": "completed", "result": result, "completions": completions}


@pytest.mark.parametrize(
    ("tasks", "verdict"),
    [
        ([task(), task("failed")], [True, True]),
        ([task("failed"), task("failed")], [False, True]),
        ([task(completions=2), {"state": "waiting", "result": None, "completions": 0}], [False, False]),
    ],
)
def test_a_task_must_be_completed_once_with_the_expected_result(
    tasks: list[dict[str, object]], verdict: list[bool]
) -> None:
    assert completed_as_expected(tasks) == verdict


@pytest.mark.parametrize(
    ("statuses", "outcomes", "verdict"),
    [
        ([202], ["deferred", "deferred", "queued"], True),
        ([500, 202], ["deferred", "queued"], False),
        ([500], ["deferred", "queued"], False),
        ([202], ["queued"], False),
        ([202], ["deferred", "parked"], False),
        ([202], [], False),
    ],
)
def test_an_event_came_back_if_it_was_queued_after_one_delivery(
    statuses: list[int], outcomes: list[str], verdict: bool
) -> None:
    delivery = Delivery("model-registered", statuses=statuses)
    decisions = [{"event_id": delivery.event_id, "outcome": outcome} for outcome in outcomes]
    assert came_back(delivery, [{"event_id": "another", "outcome": "parked"}, *decisions]) == verdict


def request(pipeline: int | str = "p", **parameters: str) -> RunRequest:
    return RunRequest("https://dev.azure.com/contoso", "mlops", pipeline, parameters=parameters)


def run(pipeline: str = "p", pipeline_id: int = 1, **parameters: str) -> dict[str, object]:
    return {"pipelineName": pipeline, "pipelineId": pipeline_id, "templateParameters": parameters}


class TestVerdict:
    @pytest.mark.parametrize(
        ("requests", "runs", "verdict"),
        [
            ([], [], Comparison(0, 0, 0)),
            ([request(a="1")], [run(a="1")], Comparison(1, 0, 0)),
            ([request(a="1")], [run(a="1", filled="in")], Comparison(1, 0, 0)),
            ([request(7, a="1")], [run("any", 7, a="1")], Comparison(1, 0, 0)),
            ([request("\\f\\P", a="1")], [run("p", a="1")], Comparison(1, 0, 0)),
            ([request(a="1")], [], Comparison(0, 1, 0)),
            ([request(a="1")], [run(a="1"), run(a="1")], Comparison(2, 0, 1)),
            ([request(a="1")], [run(a="2")], Comparison(1, 1, 1)),
            ([request(a="1")], [run("q", a="1")], Comparison(1, 1, 1)),
            ([request(7)], [run("p", 8)], Comparison(1, 1, 1)),
            ([request(a="1"), request(a="1")], [run(a="1"), run(a="1")], Comparison(2, 0, 0)),
        ],
    )
    def test_a_request_without_a_run_is_lost_and_a_run_without_a_request_is_duplicated(
        self, requests: list[RunRequest], runs: list[dict[str, object]], verdict: Comparison
    ) -> None:
        assert compare([[request] for request in requests], runs) == verdict

    def test_requests_that_share_a_cooldown_window_expect_one_run(self) -> None:
        assert compare([[request(a="1"), request(a="2")]], [run(a="2")]) == Comparison(1, 0, 0)
        assert compare([[request(a="1"), request(a="2")]], [run(a="2"), run(a="1")]) == Comparison(2, 0, 1)

    def test_two_events_of_one_occurrence_expect_one_run(self) -> None:
        table = routes(
            "name: r\nevent: RunStatusChanged\nwhen: monitor_threshold_breached\n"
            "once_per: '{{ root_run_id }}'\npipeline: p"
        )
        breaches = ["run-status-changed-monitor-breach", "run-status-changed-monitor-breach.cloud"]
        expected = RunRequest("https://dev.azure.com/contoso", "mlops", "p", "main")
        samples = [*breaches, "run-status-changed-running"]
        assert expected_runs(table, map(sample_text, samples)) == [[expected, expected]]

    def test_events_within_a_cooldown_expect_one_run(self) -> None:
        table = routes("name: r\nevent: DatasetDriftDetected\ncooldown: 6h\npipeline: p")
        drifts = ["dataset-drift-detected", "dataset-drift-detected-again"]
        assert [len(requests) for requests in expected_runs(table, map(sample_text, drifts))] == [2]

    def test_a_group_of_gathered_events_expects_one_run_for_all_of_them(self) -> None:
        """Each event counts once, and each may be the last."""
        table = routes(
            "name: r\nevent: Microsoft.Storage.BlobCreated\ngather: {quiet: 1m, at_most: 1h, by: '{{ container }}'}\n"
            "pipeline: p\nparameters: {files: '{{ gathered_count }}', last: '{{ name }}', folder: '{{ container }}'}"
        )
        events = [*map(sample_text, ["blob-created", "blob-created", "blob-created.cloud"]), *(b.text for b in blobs())]
        training, line = expected_runs(table, events)
        assert [dict(request.parameters) for request in training] == [
            {"files": "2", "last": f"part-{number:05}.parquet", "folder": "training-data"} for number in (20, 26)
        ]
        assert [dict(request.parameters) for request in line] == [
            {"files": "40", "last": f"part-{number:05}.parquet", "folder": "line-1"} for number in range(40)
        ]
        assert compare([training, line], [run(files="40", last="part-00007.parquet", folder="line-1")]).lost == 1


class TestBlobs:
    def test_only_the_route_for_new_data_changes(self) -> None:
        text = (ROOT / "routes.yaml").read_text()
        before, after = yaml.safe_load(text), yaml.safe_load(with_new_data(text))
        (route,) = [route for route in before["routes"] if route["name"] == "retrain-on-new-data"]
        route["enabled"], route["gather"]["quiet"] = True, "5s"
        assert after == before

    def test_they_are_different_files_within_a_second(self) -> None:
        events = [parse_event(blob.text) for blob in blobs()]
        times = sorted(event.time for event in events if event.time is not None)
        assert (len({event.id for event in events}), len(times)) == (BLOBS, BLOBS)
        assert times[-1] - times[0] < timedelta(seconds=1)
        assert sum(blob.copies for blob in blobs()) == BLOBS + REPEATED

    def test_only_runs_for_these_blobs_count(self) -> None:
        mine = {"templateParameters": {"newData": "line-1/landing/camera 1", "newFiles": "40"}}
        other = {"templateParameters": {"newData": "training-data/landing", "newFiles": "2"}}
        assert files_per_run([mine, other, {"templateParameters": {"reason": "drift"}}]) == [40]


def test_the_report_shows_the_note_of_an_event_without_decisions() -> None:
    output = StringIO()
    delivery = Delivery("model-deployed", "a note", statuses=[500, 500, 202])
    decision = {"event_id": "elsewhere", "route": None, "outcome": "ignored", "run_id": None, "reason": "x"}
    Report(Console(file=output)).events([delivery], [decision], {})
    assert output.getvalue() == "\nmodel-deployed: answered 500 x2 202\n  (a note)\n"


def test_the_report_breaks_lines_only_between_words() -> None:
    output = StringIO()
    reason = "a-name-that-is-longer-than-the-terminal_is_wide because it-has-hyphens"
    decision = {"event_id": Delivery("run-completed").event_id, "route": "r", "outcome": "parked", "run_id": 7}
    report = Report(Console(file=output), width=30)
    report.events([Delivery("run-completed", statuses=[202])], [{**decision, "reason": reason}], {7: "a-pipeline"})
    assert output.getvalue().splitlines()[1:] == [
        "run-completed: answered 202",
        "  r: parked, a-pipeline run 7",
        "      a-name-that-is-longer-than-the-terminal_is_wide",
        "      because it-has-hyphens",
    ]
