"""The Pipelines API: lists, single pipelines, runs and previews."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
import yaml

from devstack.ado.emulator import Emulator
from tests.support.services.emulator import DECLARATION, PAT, PLAIN_RUN, PROJECT, RUNS, Ado, Clock

PROJECT_ID = DECLARATION.project_id


@pytest.fixture
def ado() -> Ado:
    return Ado(Emulator(DECLARATION, pats={PAT}, clock=Clock()))


@pytest.mark.parametrize(
    ("top", "pages"),
    [
        ("3", [["bare", "disabled", "everything"], ["forbidden", "paused"]]),
        ("5", [["bare", "disabled", "everything", "forbidden", "paused"]]),
    ],
)
def test_pipelines_are_listed_page_by_page(ado: Ado, top: str, pages: list[list[str]]) -> None:
    listed, token = [], "0"
    while token:
        answer = ado.ask("GET", f"{PROJECT}/pipelines", query={"$top": top, "continuationToken": token})
        assert answer.json is not None
        listed.append([pipeline["name"] for pipeline in answer.json["value"]])
        token = answer.headers.get("x-ms-continuationtoken", "")

    assert listed == pages


def test_a_pipeline_is_shown_with_its_configuration(ado: Ado) -> None:
    pipeline = ado.good("ado_pipeline", "GET", f"{PROJECT}/pipelines/1", query={"pipelineVersion": "3"})

    assert [pipeline[key] for key in ("id", "name", "folder", "revision")] == [1, "everything", "\\mlops", 3]
    assert pipeline["configuration"]["path"] == "/everything.yml"
    assert pipeline["url"] == f"http://localhost/contoso/{PROJECT_ID}/_apis/pipelines/1?revision=3"


def test_the_answer_shows_the_run_as_requested(ado: Ado) -> None:
    """test_books.py checks the run in the books."""
    run = ado.run(
        {
            "templateParameters": {"runId": "brave_fig", "replicas": "2"},
            "variables": {"System.Debug": {"value": "true"}},
            "resources": {"repositories": {"self": {"refName": "refs/heads/release/1"}}},
            "stagesToSkip": ["deploy"],
        }
    )

    assert run["url"] == f"http://localhost/contoso/{PROJECT_ID}/_apis/pipelines/1/runs/501"
    assert run["_links"]["web"]["href"] == f"http://localhost/contoso/{PROJECT_ID}/_build/results?buildId=501"
    assert run["resources"]["repositories"]["self"]["refName"] == "refs/heads/release/1"
    assert run["variables"] == {"System.Debug": {"value": "true"}}
    assert (run["templateParameters"]["replicas"], run["templateParameters"]["regions"]) == ("2", '["west"]')


def test_a_run_request_without_values_uses_the_defaults(ado: Ado) -> None:
    run = ado.run({}, pipeline=4)
    commit = ado.run({"resources": {"repositories": {"self": {"version": "a" * 40}}}}, pipeline=4)

    assert run["templateParameters"] == {}
    assert run["resources"]["repositories"]["self"]["refName"] == "refs/heads/main"
    assert re.fullmatch("[0-9a-f]{40}", run["resources"]["repositories"]["self"]["version"])
    assert commit["resources"]["repositories"]["self"]["version"] == "a" * 40


def test_names_count_per_pipeline_and_day_but_ids_over_all_runs() -> None:
    clock = Clock()
    ado = Ado(Emulator(DECLARATION, pats={PAT}, clock=clock))
    runs = [ado.run(), ado.run({}, pipeline=4), ado.run()]
    clock.now = clock.now.replace(day=13)
    runs.append(ado.run())

    names = ["20260812.1", "20260812.1", "20260812.2", "20260813.1"]
    assert [(run["id"], run["name"]) for run in runs] == list(zip((501, 502, 503, 504), names, strict=True))


def test_a_run_can_be_read_later(ado: Ado) -> None:
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


def _final_yaml(ado: Ado, parameters: dict[str, str], pipeline: int = 1) -> str:
    body = {"templateParameters": parameters}
    return str(ado.good("ado_preview", "POST", f"{PROJECT}/pipelines/{pipeline}/preview", body)["finalYaml"])


@pytest.mark.parametrize(
    ("name", "default", "other"),
    [
        ("environment", "test", "production"),
        ("replicas", "1.0", "2"),
        ("force", "false", "true"),
        ("options", "{ }", '{"a": 1}'),
        ("regions", "[west]", "[east]"),
    ],
)
def test_a_preview_shows_which_values_differ_from_the_defaults(ado: Ado, name: str, default: str, other: str) -> None:
    without = _final_yaml(ado, {"runId": "x"})

    assert _final_yaml(ado, {name: default, "runId": "x"}) == without
    assert _final_yaml(ado, {name: other, "runId": "x"}) != without


def test_a_preview_does_not_show_a_missing_permission(ado: Ado) -> None:
    assert _final_yaml(ado, {}, pipeline=3).startswith("name: forbidden\n")


def test_runs_of_a_paused_pipeline_wait(ado: Ado) -> None:
    _final_yaml(ado, {}, pipeline=5)
    ado.run({}, pipeline=5)
    clock = ado.emulator._own_clock
    assert isinstance(clock, Clock)
    clock.now += timedelta(days=1)

    build = ado.good("ado_build", "GET", f"{PROJECT}/build/builds/501")

    assert (build["status"], build["definition"]["queueStatus"]) == ("notStarted", "paused")
