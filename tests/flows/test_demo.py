"""The demonstration: that it shows what it promises, and that its verdict can be a bad one."""

import re
import subprocess
import sys
from io import StringIO

import pytest
from rich.console import Console

from devstack.demo.books import Comparison, compare, wanted_runs
from devstack.demo.event_grid import Delivery
from devstack.demo.table import show
from devstack.demo.waits import released
from devstack.events import sample_names
from shared.azure_devops.runs import RunRequest
from tests.support import ROOT
from tests.support.builders import routes


def test_it_ends_well_and_shows_the_why_nots() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "devstack.demo"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[-2:] == [
        "demo: 18 events delivered, 11 pipeline runs queued, 0 lost, 0 doubled",
        "demo: 2 pipelines waited without an agent, 2 of them released, told once each",
    ]
    table = "\n".join(lines)
    for shown in (
        "found in Azure DevOps after the answer was lost",
        "HTTP 503, throttled for 1 s",
        "when is not true: model_tags.stage == 'candidate'",
        "'$(' never passes",
        "is Running, which is not final",
        "was queued within this cooldown",
        "include_child_runs: true would take it",
    ):
        assert shown in table
    assert all(f" {name} " in table for name in sample_names())
    thrice = next(line for line in lines if line.startswith(" model-registered "))
    assert sum(int(count or 1) for count in re.findall(r"202(?: x(\d))?", thrice)) == 3


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
def test_a_pipeline_that_was_not_told_once_and_right_is_not_released(
    tasks: list[dict[str, object]], verdict: list[bool]
) -> None:
    assert released(tasks) == verdict


def wanted(pipeline: int | str = "p", **parameters: str) -> RunRequest:
    return RunRequest("https://dev.azure.com/contoso", "mlops", pipeline, parameters=parameters)


def run(pipeline: str = "p", pipeline_id: int = 1, **parameters: str) -> dict[str, object]:
    return {"pipelineName": pipeline, "pipelineId": pipeline_id, "templateParameters": parameters}


class TestVerdict:
    @pytest.mark.parametrize(
        ("requests", "runs", "verdict"),
        [
            ([], [], Comparison(0, 0, 0)),
            ([wanted(a="1")], [run(a="1")], Comparison(1, 0, 0)),
            ([wanted(a="1")], [run(a="1", filled="in")], Comparison(1, 0, 0)),
            ([wanted(7, a="1")], [run("any", 7, a="1")], Comparison(1, 0, 0)),
            ([wanted("\\f\\P", a="1")], [run("p", a="1")], Comparison(1, 0, 0)),
            ([wanted(a="1")], [], Comparison(0, 1, 0)),
            ([wanted(a="1")], [run(a="1"), run(a="1")], Comparison(2, 0, 1)),
            ([wanted(a="1")], [run(a="2")], Comparison(1, 1, 1)),
            ([wanted(a="1")], [run("q", a="1")], Comparison(1, 1, 1)),
            ([wanted(7)], [run("p", 8)], Comparison(1, 1, 1)),
            ([wanted(a="1"), wanted(a="1")], [run(a="1"), run(a="1")], Comparison(2, 0, 0)),
        ],
    )
    def test_a_request_without_a_run_is_lost_and_a_run_without_a_request_is_double(
        self, requests: list[RunRequest], runs: list[dict[str, object]], verdict: Comparison
    ) -> None:
        assert compare([[request] for request in requests], runs) == verdict

    def test_of_those_that_share_a_cooldown_window_one_is_wanted(self) -> None:
        assert compare([[wanted(a="1"), wanted(a="2")]], [run(a="2")]) == Comparison(1, 0, 0)
        assert compare([[wanted(a="1"), wanted(a="2")]], [run(a="2"), run(a="1")]) == Comparison(2, 0, 1)

    def test_two_events_of_one_occurrence_want_one_run(self) -> None:
        table = routes(
            "name: r\nevent: RunStatusChanged\nwhen: monitor_threshold_breached\n"
            "once_per: '{{ root_run_id }}'\npipeline: p"
        )
        breaches = ["run-status-changed-monitor-breach", "run-status-changed-monitor-breach.cloud"]
        request = RunRequest("https://dev.azure.com/contoso", "mlops", "p", "main")
        assert wanted_runs(table, [*breaches, "run-status-changed-running"]) == [[request, request]]

    def test_events_within_a_cooldown_want_one_run(self) -> None:
        table = routes("name: r\nevent: DatasetDriftDetected\ncooldown: 6h\npipeline: p")
        drifts = ["dataset-drift-detected", "dataset-drift-detected-again"]
        assert [len(requests) for requests in wanted_runs(table, drifts)] == [2]


def test_the_table_shows_an_event_that_nothing_is_known_of() -> None:
    output = StringIO()
    delivery = Delivery("model-deployed", "a story", statuses=[500, 500, 202])
    decision = {"event_id": "elsewhere", "route": None, "outcome": "ignored", "run_id": None, "reason": "x"}
    show([delivery], [decision], {}, Console(file=output, width=100))
    assert "(a story)" in output.getvalue()
    assert "elsewhere" not in output.getvalue()
