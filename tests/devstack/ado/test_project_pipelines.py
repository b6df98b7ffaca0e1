"""The emulator derives its pipelines from routes.yaml and pipelines/*.yml, and follows changes to these files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import requests
import yaml

from devstack.ado.declaration import DEFAULT_FILE, load_declaration, load_project
from devstack.processes import start
from tests.support.polling import wait_until
from tests.support.services.emulator import basic

if TYPE_CHECKING:
    from pathlib import Path

    from devstack.ado.declaration import Declaration, PipelineDeclaration

ROUTES = r"""
routes:
  - {name: a, event: RunCompleted, pipeline: scoring}
  - {name: b, event: RunCompleted, pipeline: \team\reports}
  - {name: c, event: RunCompleted, pipeline: forgotten}
  - {name: d, event: RunCompleted, pipeline: 4711}
  - {name: e, event: RunCompleted, pipeline: scoring}
"""
SCORING = """
trigger: none
parameters:
  - {name: modelName, displayName: Name of the model}
  - {name: rows, type: number, default: 100, values: [100, 1000]}
  - {name: dryRun, type: boolean, default: false}
stages:
  - {stage: score, jobs: []}
  - template: templates/more.yml
"""
REPORTS = "steps:\n  - script: echo report\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project folder with two pipelines."""
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "routes.yaml").write_text(ROUTES)
    (tmp_path / "pipelines" / "scoring.yml").write_text(SCORING)
    (tmp_path / "pipelines" / "reports.yaml").write_text(REPORTS)
    return tmp_path


def load(project: Path, earlier: Declaration | None = None) -> Declaration:
    return load_project(DEFAULT_FILE, project, project / "routes.yaml", earlier)


def named(declaration: Declaration, name: str) -> PipelineDeclaration:
    (found,) = [pipeline for pipeline in declaration.pipelines if pipeline.name == name]
    return found


def test_the_pipelines_of_the_routes_are_declared_by_their_files(
    project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    declaration = load(project)
    scoring, reports = named(declaration, "scoring"), named(declaration, "reports")

    assert [(each.name, each.type, each.default, each.values) for each in scoring.parameters] == [
        ("modelName", "string", None, ()),
        ("rows", "number", "100", ("100", "1000")),
        ("dryRun", "boolean", "False", ()),
    ]
    assert (scoring.folder, scoring.stages, scoring.invalid) == ("\\", ("score",), "")
    assert (reports.folder, reports.stages, reports.parameters) == ("\\team", (), ())
    assert scoring.id == named(load(project), "scoring").id != reports.id
    assert caplog.messages[0] == (
        "devstack.ado: routes.yaml names the pipeline 'forgotten', which does not exist here: create "
        "pipelines/forgotten.yml, or declare it in the file that --pipelines names"
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("- a list", "/scoring.yml: the YAML must be an object"),
        ("parameters: [a]", "/scoring.yml: 'parameters' must be a list of {name: …, type: …}"),
        ("parameters: [{name: x, type: text}]", "/scoring.yml: parameters[0].type: 'text' is not one of ["),
        ("parameters: [{name: x, type: number, default: many}]", "/scoring.yml: parameters[0].default: The value of"),
        ("a: [1,", "/scoring.yml: while parsing a flow node"),
        ("a: &a [*a]", "/scoring.yml: the alias *a stands for too many values"),
        ("stages: 7", "/scoring.yml: 'stages' must be a list of {stage: …}"),
        ("parameters: [{name: x, default: !!binary aGk=}]", "/scoring.yml: Object of type bytes is not JSON"),
    ],
)
def test_an_invalid_file_makes_azure_devops_refuse_the_runs(project: Path, text: str, problem: str) -> None:
    (project / "pipelines" / "scoring.yml").write_text(text)
    assert named(load(project), "scoring").invalid.startswith(problem)


@pytest.mark.parametrize("text", ["[", "routes: 1", "routes: [1]", "- x", "a: 1", ""])
def test_an_invalid_dispatch_table_adds_no_pipelines(project: Path, text: str) -> None:
    (project / "routes.yaml").write_text(text)
    assert load(project).pipelines == load_declaration(app_dir=project).pipelines


def test_a_pipeline_with_runs_stays_when_it_is_no_longer_named(project: Path) -> None:
    earlier = load(project)
    (project / "routes.yaml").write_text("routes: []")
    assert {each.name for each in load(project, earlier).pipelines} == {each.name for each in earlier.pipelines}


def test_a_declaration_has_precedence_over_a_file(project: Path) -> None:
    own = yaml.safe_load(DEFAULT_FILE.read_text())
    own["pipelines"] = [{"id": 7, "name": "scoring", "stages": ["other"]}, {"id": 8, "name": "reports"}]
    file = project / "own.yaml"
    file.write_text(yaml.safe_dump(own))
    declaration = load_project(file, project, project / "routes.yaml")
    assert [(each.id, each.name, each.stages) for each in declaration.pipelines] == [
        (7, "scoring", ("other",)),
        (8, "reports", ()),
    ]


def test_a_new_route_and_pipeline_work_without_a_restart(project: Path) -> None:
    (project / "routes.yaml").write_text("routes: []")
    log = project / "log"
    with start("devstack.ado", "--app-dir", str(project), env={}, cwd=project, log=log) as ado:
        credential = basic("devstack-pat")

        def post(pipeline_id: int, **parameters: str) -> requests.Response:
            url = f"{ado.url}/mlops/_apis/pipelines/{pipeline_id}/runs?api-version=7.1"
            return requests.post(url, headers=credential, json={"templateParameters": parameters}, timeout=10)

        def pipelines() -> dict[str, int]:
            url = f"{ado.url}/mlops/_apis/pipelines"
            listed = requests.get(url, headers=credential, timeout=10).json()["value"]
            return {each["name"]: each["id"] for each in listed}

        assert "scoring" not in pipelines()
        unknown = post(4711)
        assert (unknown.status_code, unknown.json()["typeKey"]) == (404, "PipelineNotFoundException")

        (project / "routes.yaml").write_text(ROUTES)
        scoring = pipelines()["scoring"]
        assert post(scoring, modelName="fraud").status_code == 200
        refused = post(scoring, modelName="fraud", rows="7").json()["message"]
        assert refused == "/scoring.yml: The value of the 'rows' parameter is not allowed. Allowed values: 100, 1000."

        (project / "pipelines" / "scoring.yml").write_text("- a list")
        assert post(scoring, modelName="fraud").json()["message"] == "/scoring.yml: the YAML must be an object"
    wait_until(lambda: "there is no pipeline 4711, only 11 model-evaluation" in log.read_text())
    assert "names the pipeline 'forgotten', which does not exist here" in log.read_text()
    assert "a file has changed, and was read again" in log.read_text()
