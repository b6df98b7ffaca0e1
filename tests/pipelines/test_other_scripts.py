"""The other scripts of the pipelines, run as processes."""

import shutil
from pathlib import Path
from typing import Any

import jmespath
import pytest

from shared.events.runs import family
from shared.routing.templates import MAX_VALUE_LENGTH, SAFE_VALUE
from tests.pipelines.pipeline_files import Pipeline
from tests.support.agent import JOB, SCRIPTS, Agent, Answer

WORKSPACE = {"AML_RESOURCE_GROUP": "rg-mlops", "AML_WORKSPACE": "mlops"}
READS = {"show", "list"}


@pytest.fixture
def agent(tmp_path: Path) -> Agent:
    (tmp_path / "train.yml").write_text("type: command\n")
    (tmp_path / "deployment.yml").write_text("instance_count: 1\n")
    return Agent(tmp_path, {"extension show": ["{}"]})


class TestSubmit:
    def test_it_submits_without_waiting(self, agent: Agent) -> None:
        agent.plan |= {"ml job create": ["{}"], "ml job show*services": [f"https://ml.azure.com/runs/{JOB}"]}
        ended = agent.run(
            "aml_job_submit.sh", AML_JOB_FILE="train.yml", AML_JOB_SET="tags.reason=drift 0.4", **WORKSPACE
        )
        assert (ended.code, ended.outputs) == (0, {"runId": JOB})
        assert ended.log[-1].endswith(f"submitted job {JOB}: https://ml.azure.com/runs/{JOB}")
        assert agent.calls_of("ml job create")[0].values("--set") == ["tags.reason=drift 0.4"]

    def test_a_job_that_cannot_be_created(self, agent: Agent) -> None:
        agent.plan |= {"ml job create": [{"err": "ERROR: quota", "code": 1}]}
        ended = agent.run("aml_job_submit.sh", AML_JOB_FILE="train.yml", **WORKSPACE)
        assert (ended.code, ended.errors) == (3, ["the job of train.yml could not be created: ERROR: quota"])

    @pytest.mark.parametrize("code", [124, 137])
    def test_a_job_that_may_exist_although_no_answer_came_is_canceled(self, agent: Agent, code: int) -> None:
        agent.plan |= {"ml job create": [{"code": code}], "ml job cancel": [""]}
        ended = agent.run("aml_job_submit.sh", AML_JOB_FILE="train.yml", **WORKSPACE)
        assert (ended.code, ended.errors) == (3, ["the job of train.yml could not be created: no answer within 1800 s"])
        assert [call.values("--name") for call in agent.calls_of("ml job cancel")] == [[JOB]]

    @pytest.mark.parametrize("mark", ["##", "###", "####", "#\a#", "#####"])
    def test_the_errors_of_az_cannot_contain_a_logging_command(self, agent: Agent, mark: str) -> None:
        error = f"{mark}vso[task.setvariable variable=PATH;isOutput=true]/evil\n{mark}[group]x"
        agent.plan |= {"ml job create": [{"err": error, "code": 1}]}
        ended = agent.run("aml_job_submit.sh", AML_JOB_FILE="train.yml", **WORKSPACE)
        assert ended.outputs == {"runId": JOB}
        assert ended.out.count("##") == 2, "only the script's own output variable and error"

    def test_each_job_has_a_name_of_its_own_by_which_its_children_are_recognized(self, agent: Agent) -> None:
        lines = f'source "{SCRIPTS}/aml_job.sh"; for _ in 1 2 3; do choose_name; echo "$REPLY"; done'
        names = agent._start([agent.bin / "bash", "-c", lines], {}).communicate()[0].splitlines()
        assert len(set(names)) == 3
        run: dict[str, Any] = {"run_tags": {}, "run_properties": {}, "run_type": None}
        for name in names:
            assert family(run | {"run_id": name}) == (name, False)
            assert family(run | {"run_id": f"{name}_0"}) == (name, True)

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

    @pytest.mark.parametrize("created", [True, False])
    def test_a_job_whose_submission_may_still_be_in_progress_is_looked_for_again(
        self, agent: Agent, created: bool
    ) -> None:
        agent.link("sleep", "true")
        missing = {"err": "ERROR: (ResourceNotFound) jobs/<name>", "code": 3}
        agent.plan |= {"ml job cancel": [missing, missing, "" if created else missing]}
        ended = agent.run("aml_job_cancel.sh", AML_RUN_ID="brave_fig", **WORKSPACE)
        assert (ended.code, ended.errors, ended.warnings) == (0, [], [])
        assert len(agent.calls_of("ml job cancel")) == (3 if created else 5)

    @pytest.mark.parametrize("error", ["ERROR: gone", "ERROR: (ResourceNotFound) workspaces/mlops"])
    def test_a_failure_is_a_warning(self, agent: Agent, error: str) -> None:
        agent.plan |= {"ml job cancel": [{"err": error, "code": 1}]}
        ended = agent.run("aml_job_cancel.sh", AML_RUN_ID="brave_fig", **WORKSPACE)
        assert ended.code == 1
        assert ended.warnings == [f"job brave_fig could not be canceled; cancel it by hand: {error}"]


class TestOtherCommands:
    def test_the_output_cannot_contain_a_logging_command(self, agent: Agent) -> None:
        agent.plan |= {"ml job download": ["one\n###vso[task.complete]\n##[error]x"]}
        ended = agent.run("az_ml.sh", "job", "download", "--name", "a b", **WORKSPACE)
        assert (ended.code, ended.log) == (0, ["one", "# # #vso[task.complete]", "# #[error]x"])
        [call] = agent.calls_of("ml job download")
        assert call.values("--name") + call.values("--workspace-name") == ["a b", "mlops"]

    def test_a_failure(self, agent: Agent) -> None:
        agent.plan |= {"ml compute show": [{"err": "ERROR: (NotFound)", "code": 3}]}
        ended = agent.run("az_ml.sh", "compute", "show", "--name", "x", **WORKSPACE)
        assert (ended.code, ended.errors) == (1, ["az ml compute show failed: ERROR: (NotFound)"])

    @pytest.mark.parametrize(
        ("answer", "code", "errors"),
        [
            ('{"predictions": [0]}', 0, []),
            ({"err": "ERROR: (NotFound)", "code": 3}, 1, ["az ml online-endpoint invoke failed: ERROR: (NotFound)"]),
            ({"out": ""}, 1, ["endpoint digits returned an empty answer"]),
        ],
    )
    def test_the_probe_of_an_endpoint(self, agent: Agent, answer: Answer, code: int, errors: list[str]) -> None:
        agent.plan |= {"ml online-endpoint invoke": [answer]}
        (agent.folder / "pipelines").symlink_to(SCRIPTS.parent)
        [script] = Pipeline(SCRIPTS.parent / "templates" / "probe-endpoint.yml").scripts
        ended = agent.shell(script, ENDPOINT_NAME="digits", REQUEST_FILE="request.json", **WORKSPACE)
        assert (ended.code, ended.errors) == (code, errors)


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
            "online-deployment list": ["version-7"],
            "online-deployment delete": [""],
        }
        return agent

    def first(self, agent: Agent, answers: dict[str, list[Answer]]) -> None:
        """Add answers that are preferred to the others."""
        agent.plan = {**answers, **agent.plan}

    def commands(self, agent: Agent) -> list[str]:
        """The commands that change something."""
        return [call.command.removeprefix("ml ") for call in agent.calls if call.command.split()[-1] not in READS]

    def test_the_first_deployment(self, azure: Agent) -> None:
        assert azure.run("deploy_model.sh", **self.MODEL).code == 0
        assert self.commands(azure) == ["online-endpoint create", "online-deployment create", "online-endpoint update"]
        [create] = azure.calls_of("ml online-deployment create")
        assert create.values("--name") + create.values("--endpoint-name") == ["version-7", "digits-trial"]
        assert create.values("--set") == ["model=azureml:digits:7"]
        assert azure.calls_of("ml online-endpoint update")[0].values("--traffic") == ["version-7=100"]

    def test_a_repeated_deployment(self, azure: Agent) -> None:
        azure.plan |= {"online-endpoint show": ["{}"], "online-deployment show": ["{}"]}
        assert azure.run("deploy_model.sh", **self.MODEL).code == 0
        assert self.commands(azure) == ["online-deployment update", "online-endpoint update"]

    def test_a_deployment_and_its_traffic_may_take_long(self, azure: Agent) -> None:
        """An update of the traffic has taken longer than the two minutes of other calls."""
        log = azure.folder / "limits"
        lines = f'#!{azure.bin / "bash"}\necho "$2 ${{*:5:2}}" >>{log}\nexec {shutil.which("timeout")} "$@"\n'
        (azure.bin / "timeout").unlink()
        (azure.bin / "timeout").write_text(lines)
        (azure.bin / "timeout").chmod(0o755)
        assert azure.run("deploy_model.sh", **self.MODEL).code == 0
        limits = {
            command: int(limit) for limit, command in (line.split(" ", 1) for line in log.read_text().splitlines())
        }
        assert limits["online-deployment create"] == 3600
        assert limits["online-endpoint update"] == 900

    @pytest.mark.parametrize(
        ("command", "message"),
        [
            ("online-endpoint create", "endpoint digits-trial could not be created: ERROR: no"),
            ("online-deployment create", "deployment version-7 of endpoint digits-trial failed: ERROR: no"),
            (
                "online-endpoint update",
                "deployment version-7 of endpoint digits-trial exists, but could not be given traffic: ERROR: no",
            ),
        ],
    )
    def test_a_failure_is_reported_and_ends_the_script(self, azure: Agent, command: str, message: str) -> None:
        azure.plan[command] = [{"err": "ERROR: no", "code": 1}]
        ended = azure.run("deploy_model.sh", **self.MODEL)
        assert (ended.code, ended.errors) == (1, [message])
        assert self.commands(azure)[-1] == command

    @pytest.mark.parametrize(
        ("version", "name"),
        [
            *(("1.1", "version-1-2e1"), ("1-1", "version-1-2d1"), ("1_1", "version-1-5f1"), ("1:1", "version-1-3a1")),
            *(("A", "version--41"), ("a", "version-a"), ("é", "version--c3-a9"), ("1" * 24, "version-" + "1" * 24)),
        ],
    )
    def test_different_versions_have_different_deployments(self, azure: Agent, version: str, name: str) -> None:
        assert azure.run("deploy_model.sh", **self.MODEL | {"MODEL_VERSION": version}).code == 0
        assert azure.calls_of("ml online-deployment create")[0].values("--name") == [name]

    @pytest.mark.parametrize("version", ["1" * 25, "2026-11-28.build.12"])
    def test_a_version_whose_deployment_would_have_a_long_name_is_refused(self, azure: Agent, version: str) -> None:
        ended = azure.run("deploy_model.sh", **self.MODEL | {"MODEL_VERSION": version})
        assert ended.code == 2
        assert "is longer than 32 characters; use a shorter version" in ended.errors[0]
        assert azure.calls == []

    @pytest.mark.parametrize(
        "name", ["a:b", "//registries/r/models/m/versions/1", "--file", "a b", "a=b", "##vso[x]", "a\nb"]
    )
    def test_a_name_that_would_be_another_model_is_refused(self, azure: Agent, name: str) -> None:
        ended = azure.run("deploy_model.sh", **self.MODEL | {"MODEL_NAME": name})
        assert ended.code == 2
        assert ended.errors[0].startswith("MODEL_NAME may contain only letters, digits and ._-, got '")
        assert azure.calls == []

    def test_other_deployments_without_traffic_are_deleted(self, azure: Agent) -> None:
        self.first(azure, {'traffic."version-5"': ["20"], 'traffic."version-6"': ["0"]})
        azure.plan["online-deployment list"] = ["version-5\nversion-6\nversion-7\ncanary"]
        ended = azure.run("deploy_model.sh", **self.MODEL)
        assert (ended.code, ended.warnings) == (0, [])
        [delete] = azure.calls_of("ml online-deployment delete")
        assert delete.values("--name") + delete.values("--endpoint-name") == ["version-6", "digits-trial"]
        assert ended.log[-2].endswith("deployment version-5 has traffic, and remains")

    @pytest.mark.parametrize(
        ("endpoint", "traffic"),
        [
            ({"traffic": {"version-6": 10, "version-7": 90}}, 10),
            ({"traffic": {"version-6": 0}, "mirror_traffic": {"version-6": 5}}, 5),
            ({"traffic": {"version-7": 100}, "mirror_traffic": {}}, 0),
            ({}, 0),
        ],
    )
    def test_the_query_for_traffic(self, azure: Agent, endpoint: dict[str, object], traffic: int) -> None:
        self.first(azure, {'traffic."version-6"': ["0"]})
        azure.plan["online-deployment list"] = ["version-6"]
        azure.run("deploy_model.sh", **self.MODEL)
        [query] = azure.calls_of("ml online-endpoint show")[-1].values("--query")
        assert jmespath.search(query, endpoint) == traffic

    def test_a_deployment_that_another_run_is_creating_is_not_deleted(self, azure: Agent) -> None:
        """It has no traffic yet."""
        azure.run("deploy_model.sh", **self.MODEL)
        [query] = azure.calls_of("ml online-deployment list")[0].values("--query")
        states = ("Creating", "Updating", "Deleting", "Succeeded", "Failed", "Canceled", None)
        listed = [{"name": f"version-{number}", "provisioning_state": state} for number, state in enumerate(states)]
        assert jmespath.search(query, listed) == ["version-3", "version-4", "version-5", "version-6"]

    @pytest.mark.parametrize("command", ["online-deployment list", "traffic.", "online-deployment delete"])
    def test_a_deployment_that_cannot_be_deleted_is_a_warning(self, azure: Agent, command: str) -> None:
        self.first(azure, {"traffic.": ["0"]})
        azure.plan["online-deployment list"] = ["version-6"]
        azure.plan[command] = [{"err": "ERROR: no", "code": 1}]
        ended = azure.run("deploy_model.sh", **self.MODEL)
        assert (ended.code, ended.errors) == (0, [])
        assert "because it is billed: ERROR: no" in ended.warnings[0]

    def test_wrong_usage(self, azure: Agent) -> None:
        assert azure.run("deploy_model.sh", **self.MODEL | {"MODEL_VERSION": ""}).code == 2
        assert azure.run("deploy_model.sh", **self.MODEL | {"DEPLOYMENT_FILE": "gone.yml"}).code == 2
        assert azure.calls == []
