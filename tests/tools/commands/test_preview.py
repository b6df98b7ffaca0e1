"""``manage.py preview``: the answers of Azure DevOps. Nothing is queued."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from devstack.events import sample_text
from tests.support import ROOT
from tests.support.builders import run_completed
from tests.support.canaries import secret
from tests.tools.conftest import RIGHT, TRIAGE, UNREACHABLE, UNSOLVABLE, WRONG, Desk

UNSAFE = "name: unsafe\nevent: RunCompleted\npipeline: triage\nparameters: { runId: '{{ data.nope.x }}' }"


@pytest.fixture
def previewing(busy_desk: Desk) -> Iterator[Desk]:
    """A desk where nothing must be queued and no journal must be created."""
    yield busy_desk
    assert busy_desk.runs == []
    assert not (busy_desk.folder / "journal.sqlite3").exists()


def run_requests(desk: Desk) -> list[dict[str, Any]]:
    """The requests for a run or a preview that the emulator has recorded."""
    books = requests.get(f"{desk.emulator}/books", timeout=10).json()["requests"]
    return [request for request in books if request["method"] == "POST"]


class TestOneEvent:
    def test_as_a_process(self, previewing: Desk) -> None:
        result = previewing.process("preview", previewing.file(run_completed("run-7")))
        assert (result.code, result.err) == (0, "")
        lines = result.out.splitlines()
        request = "model-evaluation in contoso/mlops on main; runId=run-7, experimentName=train"
        assert result.rows[0] == ["evaluate", "accepted", request]
        assert "      - script: echo runId=run-7" in lines
        assert lines[-1] == "1 preview: 1 accepted; nothing was queued"
        assert result.out.isascii()
        assert [request["path"] for request in run_requests(previewing)] == [
            "/contoso/mlops/_apis/pipelines/11/preview"
        ]

    def test_what_azure_devops_refuses(self, previewing: Desk) -> None:
        previewing.routes(WRONG)
        result = previewing.run("preview", previewing.file(run_completed()))
        assert (result.code, result.rows[0][:2]) == (1, ["evaluate", "refused"])
        assert "HTTP 400: Unexpected parameter 'run'" in result.rows[0][2]

    def test_every_matching_route_and_every_event_from_standard_input(self, previewing: Desk) -> None:
        previewing.routes(RIGHT, TRIAGE)
        with previewing.file(f"[{run_completed('a')}, {run_completed('b')}]").open() as stdin:
            result = previewing.finish(previewing.start("preview", "-", "--no-yaml", stdin=stdin))
        assert [row[:2] for row in result.rows[:-1]] == [["evaluate", "accepted"], ["triage", "accepted"]] * 2
        assert (result.code, "runId=b" in result.rows[2][2]) == (0, True)

    def test_no_request_for_an_event_that_would_be_parked_or_ignored(self, previewing: Desk) -> None:
        previewing.routes(UNSAFE, RIGHT.replace("RunCompleted", "RunCompleted\nwhen: experiment_name == 'other'"))
        result = previewing.run("preview", previewing.file(run_completed()))
        assert (result.code, result.rows[0][:2]) == (1, ["unsafe", "would park"])
        ignored = previewing.run("preview", previewing.file(sample_text("model-registered")))
        assert (ignored.code, ignored.rows[0][:2]) == (0, ["-", "would ignore"])
        assert run_requests(previewing) == []

    def test_json(self, previewing: Desk) -> None:
        path = previewing.file(run_completed("run-7"))
        (document,) = previewing.run("preview", path, "--json").json
        assert "echo runId=run-7" in document.pop("final_yaml")
        # fmt: off
        assert document == {
            "file": str(path), "event": json.loads(run_completed("run-7")), "route": "evaluate",
            "outcome": "accepted", "reason": "", "sampled": [],
            "request": {
                "organization_url": previewing.organization_url, "project": "mlops",
                "pipeline": "model-evaluation", "branch": "main",
                "parameters": {"runId": "run-7", "experimentName": "train"}, "variables": {},
                "stages_to_skip": [], "pipeline_version": None, "correlation_parameter": None,
            },
        }
        # fmt: on


class TestAllRoutes:
    def test_the_default_table_as_a_process(self, previewing: Desk) -> None:
        previewing.settings = {"ROUTES_FILE": str(ROOT / "routes.yaml")}
        result = previewing.process("preview", "--all")
        assert (result.code, result.err) == (0, "")
        *rows, last, legend = result.out.splitlines()
        routes = len(rows)
        assert routes >= 7
        assert last == f"{routes} previews: {routes - 1} accepted, 1 disabled; nothing was queued"
        assert [row.split()[:2] for row in rows if "disabled" in row] == [["retrain-on-new-data", "disabled"]]
        assert legend.startswith("(sample): ")
        (triage,) = [row for row in rows if row.startswith("triage")]
        assert triage.endswith("runId=sample_run_00000001 (sample), runStatus=Failed")
        assert len(run_requests(previewing)) == routes - 1

    def test_a_route_without_a_sample_and_a_disabled_route(self, previewing: Desk) -> None:
        previewing.routes(UNSOLVABLE, RIGHT + "\nenabled: false")
        odd, disabled = previewing.run("preview", "--all", "--json").json
        assert (disabled["outcome"], disabled["event"]) == ("disabled", None)
        assert odd["outcome"] == "no sample"
        assert "when is not true: join(" in odd["reason"]
        result = previewing.run("preview", "--all")
        assert (result.code, "manage.py preview EVENT.json" in result.rows[0][2]) == (1, True)

    def test_an_event_for_it_can_be_given(self, previewing: Desk) -> None:
        previewing.routes(RIGHT, UNSOLVABLE + "\nparameters: { runId: '{{ run_id }}', runStatus: Failed }")
        event = previewing.file(run_completed("same", experimentId="same", experimentName="other"))
        result = previewing.run("preview", "--all", event)
        assert (result.code, [row[:2] for row in result.rows[:2]]) == (
            0,
            [["evaluate", "accepted"], ["odd", "accepted"]],
        )
        assert "runId=same, experimentName=other" in result.rows[0][2], (
            "the event is used for every route that it matches"
        )
        assert "(sample)" not in result.out
        previewing.routes(RIGHT + "\nwhen: experiment_name == 'train'", UNSOLVABLE)
        assert "runId=sample_run_00000001 (sample)" in previewing.run("preview", "--all", event).rows[0][2]

    def test_the_yaml_is_shown_on_request(self, previewing: Desk) -> None:
        assert "script:" not in previewing.run("preview", "--all").out
        assert "script:" in previewing.run("preview", "--all", "--yaml").out


class TestErrors:
    def test_no_answer(self, desk: Desk) -> None:
        desk.routes(RIGHT, TRIAGE)
        result = desk.run("preview", "--all")
        assert (result.code, result.err.count("\n")) == (1, 1)
        assert result.err.startswith(
            f"manage.py: no preview from {UNREACHABLE}: no connection: GET {UNREACHABLE}/mlops/"
        )
        assert result.err.endswith("; run 'make ado', which starts the emulator, or correct AZURE_DEVOPS_ORG_URL\n")
        assert [row[1] for row in result.rows[:2]] == ["unknown", "unknown"]

    def test_a_credential_that_is_refused_is_tried_once(self, previewing: Desk) -> None:
        previewing.settings = {"AZURE_DEVOPS_EXT_PAT": secret("wrong")}
        previewing.routes(RIGHT, TRIAGE)
        result = previewing.run("preview", "--all")
        assert (result.code, result.err.count("\n"), "asks to sign in" in result.err) == (1, 1, True)
        assert len(requests.get(f"{previewing.emulator}/books", timeout=10).json()["requests"]) == 1

    def test_a_server_error_for_one_pipeline_does_not_affect_the_others(self, previewing: Desk) -> None:
        previewing.plan(accept=False, status=500, match={"method": "POST", "path": "/preview$"})
        previewing.routes(RIGHT, TRIAGE)
        result = previewing.run("preview", "--all")
        assert (result.code, [row[1] for row in result.rows[:2]]) == (1, ["unknown", "accepted"])
        assert "HTTP 500" in result.rows[0][2]
