"""routes.yaml, the pipelines in this repository and the emulator's pipelines agree."""

import re

import pytest

from devstack.ado import load_declaration
from devstack.ado.runs.parameters import as_text
from handlers import NAMES
from shared.routing.routes_file import load_routes
from shared.routing.table import Route
from tests.pipelines.pipeline_files import FOLDER, Pipeline, nodes
from tests.support import ROOT
from tests.support.builders import ENVIRONMENT

ROUTES = load_routes(
    (ROOT / "routes.yaml").read_text(), source="routes.yaml", names=NAMES, environment=ENVIRONMENT
).routes
EMULATED = {pipeline.name: pipeline for pipeline in load_declaration().pipelines}

each_route = pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
each_stage = pytest.mark.parametrize("name", sorted(EMULATED))


def stage(name: str | int) -> Pipeline:
    """Return the file of a pipeline that a route names. The folder in Azure DevOps does not matter."""
    return Pipeline(FOLDER / f"{str(name).rpartition(chr(92))[2]}.yml")


def test_the_routes_queue_the_pipelines_in_this_repository() -> None:
    assert {str(route.pipeline) for route in ROUTES} >= set(EMULATED)


@each_route
def test_a_route_sends_what_its_pipeline_declares_and_everything_that_it_requires(route: Route) -> None:
    pipeline = stage(route.pipeline)
    required = {name for name, declared in pipeline.parameters.items() if "default" not in declared}
    assert required <= set(route.parameters) <= set(pipeline.parameters)
    for name, template in route.parameters.items():
        declared = pipeline.parameters[name]
        if "values" in declared and "{{" not in template.text:
            assert template.text in declared["values"]


@each_stage
def test_the_emulator_declares_what_the_pipeline_declares(name: str) -> None:
    pipeline, emulated = stage(name), EMULATED[name]
    declared = {
        each["name"]: (
            each["type"],
            as_text(each["default"]) if "default" in each else None,
            tuple(as_text(value) for value in each.get("values", [])),
        )
        for each in pipeline.parameters.values()
    }
    assert {each.name: (each.type, each.default, each.values) for each in emulated.parameters} == declared
    assert list(emulated.stages) == pipeline.stages
    assert emulated.invalid == ""


@each_stage
def test_a_stage_checks_each_of_its_parameters_before_anything_else(name: str) -> None:
    """The check is in the first job, right after the checkout, which provides the script."""
    pipeline = stage(name)
    steps = pipeline.document["stages"][0]["jobs"][0]["steps"]
    assert "checkout" in steps[0]
    assert steps[1]["template"] == "templates/stage-parameters.yml"
    values = steps[1]["parameters"]["values"]
    assert values == {parameter: f"${{{{ parameters.{parameter} }}}}" for parameter in pipeline.parameters}
    optional = [parameter for parameter, each in pipeline.parameters.items() if each.get("default") == ""]
    assert steps[1]["parameters"].get("mayBeEmpty", "").split() == optional


@each_stage
def test_no_later_step_runs_if_the_check_has_failed(name: str) -> None:
    """A step with a condition such as always(), failed() or succeededOrFailed() would run."""
    for stage_node in stage(name).document["stages"]:
        assert "condition" not in stage_node
        for job in stage_node["jobs"]:
            assert "condition" not in job
            assert [step for step in job["steps"] if "condition" in step] == []


def test_the_deployment_ends_with_a_probe_and_waits_for_no_event() -> None:
    """No event reports that a managed online endpoint has been deployed."""
    production = stage("model-deployment").document["stages"][-1]["jobs"][-1]["steps"]
    assert [step.get("template") for step in production[-2:]] == [
        "templates/deploy-model.yml",
        "templates/probe-endpoint.yml",
    ]
    assert [step["parameters"]["endpoint"] for step in production[-2:]] == ["${{ variables.productionEndpoint }}"] * 2
    [trial] = stage("model-deployment").document["stages"][0]["jobs"]
    assert trial["steps"][-1]["parameters"]["endpoint"] == "${{ variables.trialEndpoint }}"
    assert "ModelDeployed" not in {cause.event for route in ROUTES for cause in route.causes}
    assert "ModelDeployed" in {route.event for route in ROUTES}


def test_the_table_leads_with_model_monitoring() -> None:
    blobs = "Microsoft.Storage.BlobCreated"
    retraining = [route.event for route in ROUTES if route.pipeline == "retraining"]
    assert (ROUTES[0].event, retraining) == ("RunStatusChanged", ["RunStatusChanged", blobs, "DatasetDriftDetected"])
    for file in ("routes.yaml", "docs/routes.md"):
        assert "2025-09-01" in (ROOT / file).read_text(), f"{file} does not say when dataset monitors were retired"


def test_the_samples_use_the_experiments_that_the_routes_expect() -> None:
    """A pipeline that continues on its own uses another experiment, to which no route reacts."""
    waiting = {
        route.name for route in ROUTES if route.when is not None and "experiment_name == 'train'" in _text(route)
    }
    assert waiting == {"evaluate-after-training", "triage-failed-training"}
    continued_by_routes = {"train-event-driven.yml", "retraining.yml"}
    found: dict[str, set[str]] = {}
    for file in FOLDER.glob("*.yml"):
        for _, given in Pipeline(file).calls:
            if str(given.get("jobFile")).endswith("/train.yml"):
                experiments = re.findall(r"experiment_name=(\S+)", str(given.get("setArguments")))
                found.setdefault(file.name, set()).update(experiments or {"train"})
    assert continued_by_routes < set(found)
    assert {name for name, experiments in found.items() if "train" in experiments} == continued_by_routes
    [evaluation] = [given for _, given in stage("model-evaluation").calls if "jobFile" in given]
    assert "experiment_name=evaluate-" in evaluation["setArguments"]


def _text(route: Route) -> str:
    return route.when.text if route.when is not None else ""


@pytest.mark.parametrize("template", ["aml-job-wait.yml", "aml-job-submit.yml", "deploy-model.yml"])
def test_a_template_sets_the_variables_that_its_scripts_read(template: str) -> None:
    pipeline = Pipeline(FOLDER / "templates" / template)
    common = {"AML_RESOURCE_GROUP", "AML_WORKSPACE", "AML_CLOUD"}
    for step, script in zip(pipeline.document["steps"], pipeline.script_files, strict=True):
        documented = set(re.findall(r"^#   ([A-Z_]+(?:, [A-Z_]+)*)", script.read_text(), re.MULTILINE))
        assert set(step["env"]) == {name for names in documented for name in names.split(", ")} | common


@pytest.mark.parametrize("template", ["aml-job-wait.yml", "aml-job-submit.yml"])
def test_the_last_step_of_a_canceled_pipeline_cancels_the_job(template: str) -> None:
    submit, cancel = Pipeline(FOLDER / "templates" / template).document["steps"]
    assert submit["name"] == "${{ parameters.stepName }}"
    assert cancel["condition"].startswith("and(canceled(), ne(variables['${{ parameters.stepName }}.runId'], '')")
    assert cancel["inputs"]["scriptPath"].endswith("/aml_job_cancel.sh")
    assert cancel["env"]["AML_RUN_ID"] == "$(${{ parameters.stepName }}.runId)"


def test_the_names_of_endpoints_end_with_a_suffix() -> None:
    """Otherwise they are taken, because they must be unique in an Azure region."""
    variables = Pipeline(FOLDER / "model-deployment.yml").document["variables"]
    endpoints = [each["value"] for each in variables if each.get("name", "").endswith("Endpoint")]
    assert len(endpoints) == 2
    assert all(name.endswith("-${{ variables.endpointSuffix }}") for name in endpoints)


def test_only_one_run_at_a_time_deploys_to_an_endpoint() -> None:
    """It deletes the deployments without traffic, also the one that another run is just creating."""
    stages = stage("model-deployment").document["stages"]
    deploying = [each for each in stages if "templates/deploy-model.yml" in str(each)]
    assert [each["lockBehavior"] for each in deploying] == ["sequential", "sequential"]


def test_an_approval_needs_an_approver_and_ends_before_its_job() -> None:
    [approval] = [
        node for node in nodes(stage("model-deployment").document) if "ManualValidation" in str(node.get("task"))
    ]
    [job] = [node for node in nodes(stage("model-deployment").document) if approval in node.get("steps", [])]
    assert approval["inputs"]["approvers"] == "${{ variables.approvers }}"
    assert job["timeoutInMinutes"] > approval["timeoutInMinutes"]


def test_a_work_item_fits_every_process() -> None:
    """Basic has no Bug, and the form of a Bug does not show the description."""
    assert stage("triage").parameters["workItemType"]["default"] == "Task"
    [script] = [script for script in stage("triage").scripts if "work-item create" in script]
    assert '--type "$WORK_ITEM_TYPE"' in script
    assert "--discussion" in script
    assert "--description" not in script
