"""The other scripts of the pipelines, run as processes."""

from pathlib import Path

import pytest

from shared.routing.templates import MAX_VALUE_LENGTH, SAFE_VALUE
from tests.support.agent import SCRIPTS, Agent

WORKSPACE = {"AML_RESOURCE_GROUP": "rg-mlops", "AML_WORKSPACE": "mlops"}


@pytest.fixture
def agent(tmp_path: Path) -> Agent:
    (tmp_path / "train.yml").write_text("type: command\n")
    (tmp_path / "deployment.yml").write_text("instance_count: 1\n")
    return Agent(tmp_path, {"extension show": ["{}"]})


class TestSubmit:
    def test_it_submits_without_waiting(self, agent: Agent) -> None:
        agent.plan |= {"ml job create": ["brave_fig"], "ml job show*services": ["https://ml.azure.com/runs/brave_fig"]}
        ended = agent.run(
            "aml_job_submit.sh", AML_JOB_FILE="train.yml", AML_JOB_SET="tags.reason=drift 0.4", **WORKSPACE
        )
        assert (ended.code, ended.outputs) == (0, {"runId": "brave_fig"})
        assert ended.log[-1].endswith("submitted job brave_fig: https://ml.azure.com/runs/brave_fig")
        assert agent.calls_of("ml job create")[0].values("--set") == ["tags.reason=drift 0.4"]

    def test_a_job_that_cannot_be_created(self, agent: Agent) -> None:
        agent.plan |= {"ml job create": [{"err": "ERROR: quota", "code": 1}]}
        ended = agent.run("aml_job_submit.sh", AML_JOB_FILE="train.yml", **WORKSPACE)
        assert (ended.code, ended.errors) == (3, ["the job of train.yml could not be created: ERROR: quota"])

    def test_the_errors_of_az_cannot_contain_a_logging_command(self, agent: Agent) -> None:
        agent.plan |= {"ml job create": [{"err": "##vso[task.setvariable variable=PATH]/evil\n##[group]x", "code": 1}]}
        ended = agent.run("aml_job_submit.sh", AML_JOB_FILE="train.yml", **WORKSPACE)
        assert ended.outputs == {}
        assert ended.out.count("##") == 1, "only the script's own error"

    def test_a_call_that_hangs_is_ended(self, agent: Agent) -> None:
        agent.plan |= {"ml job create": [{"seconds": 60}]}
        lines = f'source "{SCRIPTS}/aml_job.sh"; prepare; call 1 ml job create || {{ read_errors; echo "$REPLY"; }}'
        assert agent.shell(lines, **WORKSPACE).out == "no answer within 1 s\n"
        assert not agent.calls[-1].is_running


class TestCancel:
    def test_it_cancels_the_job(self, agent: Agent) -> None:
        agent.plan |= {"ml job cancel": [""]}
        ended = agent.run("aml_job_cancel.sh", AML_RUN_ID="brave_fig", **WORKSPACE)
        assert (ended.code, ended.errors) == (0, [])
        [call] = agent.calls_of("ml job cancel")
        assert call.values("--name") + call.values("--resource-group") == ["brave_fig", "rg-mlops"]

    @pytest.mark.parametrize("run_id", ["", "$(amlJob.runId)", "--all"])
    def test_without_a_job_there_is_nothing_to_do(self, agent: Agent, run_id: str) -> None:
        assert agent.run("aml_job_cancel.sh", AML_RUN_ID=run_id, **WORKSPACE).code == 0
        assert agent.calls == []

    def test_a_failure_is_a_warning(self, agent: Agent) -> None:
        agent.plan |= {"ml job cancel": [{"err": "ERROR: gone", "code": 1}]}
        ended = agent.run("aml_job_cancel.sh", AML_RUN_ID="brave_fig", **WORKSPACE)
        assert ended.code == 1
        assert ended.warnings == ["job brave_fig could not be canceled; cancel it by hand: ERROR: gone"]


class TestCheckParameters:
    @pytest.mark.parametrize(
        "value",
        [
            *("a", "brave_fig_7k2m", "drift 0.42 seen by m-1", "a:1,b:2", "x=y=", "=", "refs/heads/main", "a@b+c"),
            *("a;b", "`id`", "a'b", 'a"b', "a$b", "a\nb", "a\tb", "a|b", "a>b", "ä", "\u202e", "a\\b", "#", "(", "%0a"),
            *("x" * MAX_VALUE_LENGTH, "x" * (MAX_VALUE_LENGTH + 1)),
        ],
        ids=lambda value: ascii(value[:20]),
    )
    def test_it_allows_the_same_values_as_the_app(self, agent: Agent, value: str) -> None:
        is_allowed = SAFE_VALUE.fullmatch(value) is not None and len(value) <= MAX_VALUE_LENGTH
        ended = agent.run("check_parameters.sh", PARAMETER_runId=value, LC_ALL="C.UTF-8")
        assert ended.code == (0 if is_allowed else 1)
        assert len(ended.errors) == (0 if is_allowed else 1)
        assert (f"runId = {value}\n" in ended.out) is is_allowed

    def test_all_problems_are_reported_without_the_refused_values(self, agent: Agent) -> None:
        names = {"PARAMETER_a": "$(x)", "PARAMETER_b": "", "PARAMETER_c": "ok", "PARAMETER_model-name": "`x`"}
        ended = agent.run("check_parameters.sh", **names)
        assert ended.code == 1
        assert {error.split()[1] for error in ended.errors} == {"a", "b", "model-name"}
        assert ended.log == ["c = ok"]
        assert "$(x)" not in ended.out
        assert "`x`" not in ended.out

    def test_some_may_be_empty(self, agent: Agent) -> None:
        ended = agent.run("check_parameters.sh", PARAMETER_modelIds="", PARAMETER_a="1", MAY_BE_EMPTY="x modelIds")
        assert ended.code == 0

    def test_no_parameter_to_check_is_an_error(self, agent: Agent) -> None:
        assert agent.run("check_parameters.sh").code == 2


class TestDeploy:
    MODEL = WORKSPACE | {
        "ENDPOINT_NAME": "digits-trial",
        "DEPLOYMENT_FILE": "deployment.yml",
        "MODEL_NAME": "digits",
        "MODEL_VERSION": "7",
    }

    @pytest.fixture
    def azure(self, agent: Agent) -> Agent:
        """Azure ML with neither the endpoint nor the deployment."""
        missing = {"err": "ERROR: (ResourceNotFound)", "code": 3}
        agent.plan |= {
            "online-endpoint show": [missing],
            "online-endpoint create": ["{}"],
            "online-deployment show": [missing],
            "online-deployment create": ["{}"],
            "online-deployment update": ["{}"],
            "online-endpoint update": ["{}"],
        }
        return agent

    def commands(self, agent: Agent) -> list[str]:
        """The commands that change something."""
        return [call.command.removeprefix("ml ") for call in agent.calls if not call.command.endswith("show")]

    def test_the_first_deployment(self, azure: Agent) -> None:
        assert azure.run("deploy_model.sh", **self.MODEL).code == 0
        assert self.commands(azure) == ["online-endpoint create", "online-deployment create", "online-endpoint update"]
        [create] = azure.calls_of("ml online-deployment create")
        assert create.values("--name") + create.values("--endpoint-name") == ["v7", "digits-trial"]
        assert create.values("--set") == ["model=azureml:digits:7"]
        assert azure.calls_of("ml online-endpoint update")[0].values("--traffic") == ["v7=100"]

    def test_a_repeated_deployment(self, azure: Agent) -> None:
        azure.plan |= {"online-endpoint show": ["{}"], "online-deployment show": ["{}"]}
        assert azure.run("deploy_model.sh", **self.MODEL).code == 0
        assert self.commands(azure) == ["online-deployment update", "online-endpoint update"]

    @pytest.mark.parametrize(
        ("command", "message"),
        [
            ("online-endpoint create", "endpoint digits-trial could not be created: ERROR: no"),
            ("online-deployment create", "deployment v7 of endpoint digits-trial failed: ERROR: no"),
            (
                "online-endpoint update",
                "deployment v7 of endpoint digits-trial exists, but could not be given traffic: ERROR: no",
            ),
        ],
    )
    def test_a_failure_is_reported_and_ends_the_script(self, azure: Agent, command: str, message: str) -> None:
        azure.plan[command] = [{"err": "ERROR: no", "code": 1}]
        ended = azure.run("deploy_model.sh", **self.MODEL)
        assert (ended.code, ended.errors) == (1, [message])
        assert self.commands(azure)[-1] == command

    def test_wrong_usage(self, azure: Agent) -> None:
        assert azure.run("deploy_model.sh", **self.MODEL | {"MODEL_VERSION": ""}).code == 2
        assert azure.run("deploy_model.sh", **self.MODEL | {"DEPLOYMENT_FILE": "gone.yml"}).code == 2
        assert azure.calls == []
