"""docs/choosing-an-approach.md and docs/waiting-on-an-agent.md agree with the pipelines."""

import re

from devstack.ado import load_declaration
from tests.pipelines.pipeline_files import FOLDER, Pipeline
from tests.support import ROOT
from tests.support.docs import codes, rows, section

CHOOSING = (ROOT / "docs" / "choosing-an-approach.md").read_text()
WAITING = (ROOT / "docs" / "waiting-on-an-agent.md").read_text()


def test_the_diagram_and_the_table_have_the_same_approaches() -> None:
    drawn = set(re.findall(r'\["(\d [^"]+)"\]', CHOOSING))
    in_table = {row[0].partition(":")[0] for row in rows(CHOOSING.partition("\nWhat usually decides")[0])}
    assert drawn == in_table
    assert len(drawn) == 5


def test_every_approach_and_every_next_stage_is_linked() -> None:
    stages = {f"{pipeline.name}.yml" for pipeline in load_declaration().pipelines}
    approaches = {file.name for file in FOLDER.glob("train-*.yml")} | {"pr-validation.yml", "batch-endpoint.yml"}
    for name in stages | approaches:
        assert f"(../pipelines/{name})" in CHOOSING, f"the page does not link to {name}"


def test_every_way_to_wait_without_an_agent_is_compared() -> None:
    ways = Pipeline(FOLDER / "templates" / "aml-job-wait-agentless.yml").parameters["way"]["values"]
    table = rows(section(CHOOSING, "Three ways to wait without an agent"))
    assert {len(row) for row in table} == {1 + len(ways)}


def test_every_parameter_of_the_wait_template_is_documented_with_its_default() -> None:
    parameters = Pipeline(FOLDER / "templates" / "aml-job-wait.yml").parameters
    table = {codes(row[0])[0]: row[1].strip("`") for row in rows(section(WAITING, "Parameters of the template"))}
    defaults = {name: str(each.get("default", "")) for name, each in parameters.items()}
    assert table == {name: {"False": "false"}.get(default, default) for name, default in defaults.items()}


def test_every_exit_code_of_the_wait_is_documented() -> None:
    script = (FOLDER / "scripts" / "aml_job_wait.sh").read_text()
    explained = [codes(row[0])[0] for row in rows(section(WAITING, "Exit codes"))]
    assert explained == re.findall(r"^#   (\d)  ", script, re.MULTILINE)
    common = (FOLDER / "scripts" / "aml_job.sh").read_text()
    used = set(re.findall(r"\bEXIT_\w+=(\d)", script + common))
    assert {"0", *used} == set(explained)
