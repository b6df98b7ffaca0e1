"""The Pipelines API: lists, single pipelines, runs and previews."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from devstack.ado.books import Variable
from devstack.ado.emulator import Emulator
from tests.support.services.emulator import DECLARATION, PAT, PLAIN_RUN, PROJECT, RUNS, Ado, Clock

PROJECT_ID = DECLARATION.project_id


@pytest.fixture
def ado() -> Ado:
    return Ado(Emulator(DECLARATION, pats={PAT}, clock=Clock()))


def _names(document: dict[str, Any]) -> list[str]:
    return [pipeline["name"] for pipeline in document["value"]]


@pytest.mark.parametrize(
    ("order", "names"),
    [
        (None, ["bare", "disabled", "everything", "forbidden"]),
        ("name desc", ["forbidden", "everything", "disabled", "bare"]),
        ("id", ["everything", "disabled", "forbidden", "bare"]),
        ("id desc", ["bare", "forbidden", "disabled", "everything"]),
    ],
)
def test_pipelines_are_listed_in_order(ado: Ado, order: str | None, names: list[str]) -> None:
    query = {"orderBy": order} if order else {}

    listed = ado.good("ado_pipeline_list", "GET", f"{PROJECT}/pipelines", query=query)

    assert (listed["count"], _names(listed)) == (4, names)


@pytest.mark.parametrize(
    ("top", "pages"),
    [
        ("3", [["bare", "disabled", "everything"], ["forbidden"]]),
        ("4", [["bare", "disabled", "everything", "forbidden"]]),
    ],
)
def test_pipelines_are_listed_page_by_page(ado: Ado, top: str, pages: list[list[str]]) -> None:
    listed, token = [], "0"
    while token:
        answer = ado.ask("GET", f"{PROJECT}/pipelines", query={"$top": top, "continuationToken": token})
        assert answer.json is not None
        listed.append(_names(answer.json))
        token = answer.headers.get("x-ms-continuationtoken", "")

    assert listed == pages


def test_a_pipeline_is_shown_with_its_configuration(ado: Ado) -> None:
    pipeline = ado.good("ado_pipeline", "GET", f"{PROJECT}/pipelines/1", query={"pipelineVersion": "3"})

    assert (pipeline["id"], pipeline["name"], pipeline["folder"], pipeline["revision"]) == (
        1,
        "everything",
        "\\mlops",
        3,
    )
    assert pipeline["configuration"]["path"] == "/everything.yml"
    assert pipeline["url"] == f"http://localhost/contoso/{PROJECT_ID}/_apis/pipelines/1?revision=3"


def test_a_run_is_answered_and_entered_in_the_books(ado: Ado) -> None:
    run = ado.run(
        {
            "templateParameters": {"runId": "brave_fig", "replicas": "2"},
            "variables": {"System.Debug": {"value": "true"}},
            "resources": {"repositories": {"self": {"refName": "refs/heads/release/1"}}},
            "stagesToSkip": ["deploy"],
        }
    )

    assert (run["id"], run["name"], run["state"]) == (501, "20260812.1", "inProgress")
    assert run["createdDate"] == "2026-08-12T08:00:02.6856420Z"
    assert run["url"] == f"http://localhost/contoso/{PROJECT_ID}/_apis/pipelines/1/runs/501"
    assert run["_links"]["web"]["href"] == f"http://localhost/contoso/{PROJECT_ID}/_build/results?buildId=501"
    assert run["resources"]["repositories"]["self"]["refName"] == "refs/heads/release/1"
    assert run["variables"] == {"System.Debug": {"value": "true"}}
    assert run["templateParameters"] == {
        "runId": "brave_fig",
        "environment": "test",
        "replicas": "2",
        "force": "False",
        "consent": "true",
        "options": "{}",
        "regions": '["west"]',
    }
    (record,) = ado.emulator.books.runs
    assert (record.id, record.pipeline_id, record.pipeline_name) == (501, 1, "everything")
    assert (record.branch, record.stages_to_skip) == ("refs/heads/release/1", ("deploy",))
    assert record.variables == {"System.Debug": Variable("true")}


def test_a_run_without_a_body_to_speak_of_takes_the_defaults(ado: Ado) -> None:
    run = ado.run({}, pipeline=4)
    commit = ado.run({"resources": {"repositories": {"self": {"version": "a" * 40}}}}, pipeline=4)

    assert run["templateParameters"] == {}
    assert run["resources"]["repositories"]["self"]["refName"] == "refs/heads/main"
    assert re.fullmatch("[0-9a-f]{40}", run["resources"]["repositories"]["self"]["version"])
    assert commit["resources"]["repositories"]["self"]["version"] == "a" * 40


def test_names_count_per_pipeline_and_day_and_ids_over_all() -> None:
    clock = Clock()
    ado = Ado(Emulator(DECLARATION, pats={PAT}, clock=clock))
    runs = [ado.run(), ado.run({}, pipeline=4), ado.run()]
    clock.now = clock.now.replace(day=13)
    runs.append(ado.run())

    names = ["20260812.1", "20260812.1", "20260812.2", "20260813.1"]
    assert [(run["id"], run["name"]) for run in runs] == list(zip((501, 502, 503, 504), names, strict=True))


def test_runs_are_listed_latest_first_without_their_parameters(ado: Ado) -> None:
    ado.run()
    ado.run({}, pipeline=4)
    ado.run()
    ado.emulator.finish_run(501, "failed")

    listed = ado.good("ado_run_list", "GET", RUNS)

    assert [(run["id"], run["state"], run.get("result")) for run in listed["value"]] == [
        (503, "inProgress", None),
        (501, "completed", "failed"),
    ]


def test_a_run_can_be_read_again(ado: Ado) -> None:
    queued = ado.run()
    assert ado.good("ado_run", "GET", f"{RUNS}/501") == queued

    ado.emulator.finish_run(501, "succeeded")
    finished = ado.good("ado_run", "GET", f"{RUNS}/501")

    assert (finished["state"], finished["result"]) == ("completed", "succeeded")
    assert finished["finishedDate"] > queued["createdDate"]


@pytest.mark.parametrize("path", ["preview", "runs"])
def test_a_preview_queues_nothing(ado: Ado, path: str) -> None:
    body = {**PLAIN_RUN, "previewRun": True}

    preview = ado.good("ado_preview", "POST", f"{PROJECT}/pipelines/1/{path}", body)

    stages = yaml.safe_load(preview["finalYaml"])["stages"]
    assert [stage["stage"] for stage in stages] == ["build", "deploy"]
    assert {"script": "echo runId=brave_fig"} in stages[0]["jobs"][0]["steps"]
    assert ado.emulator.books.runs == ()


@pytest.mark.parametrize(("body", "stages"), [({}, ["__default"]), ({"yamlOverride": "stages: []"}, [])])
def test_a_preview_of_a_pipeline_without_stages_and_of_other_yaml(ado: Ado, body: object, stages: list[str]) -> None:
    preview = ado.good("ado_preview", "POST", f"{PROJECT}/pipelines/4/preview", body)

    assert [stage["stage"] for stage in yaml.safe_load(preview["finalYaml"])["stages"]] == stages
