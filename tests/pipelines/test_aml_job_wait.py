"""The script that submits an Azure ML job and waits, run as a process through every possible ending."""

import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.agent import JOB, SCRIPTS, Agent, Answer, Ended

SCRIPT = "aml_job_wait.sh"
STUDIO = f"https://ml.azure.com/runs/{JOB}?wsid=/subscriptions/0f0f/resourcegroups/mlops/workspaces/mlops"
INPUTS = {
    "AML_JOB_FILE": "train.yml",
    "AML_RESOURCE_GROUP": "rg-mlops",
    "AML_WORKSPACE": "mlops",
    "AML_POLL_INTERVAL": "1s",
    "AML_TIME_LIMIT": "1m",
}
LONG = INPUTS | {"AML_POLL_INTERVAL": "1h", "AML_TIME_LIMIT": "2h"}
LOST: Answer = {"err": "ERROR: (429) Too many requests\n", "code": 1}


@pytest.fixture
def agent(tmp_path: Path) -> Agent:
    (tmp_path / "train.yml").write_text("type: command\n")
    plan: dict[str, list[Answer]] = {
        "extension show": ["{}"],
        "ml job create": ["{}"],
        "ml job show*services": [STUDIO],
        "ml job cancel": [""],
    }
    made = Agent(tmp_path, plan)
    made.link("sleep", "true")  # a pause takes no time, except in tests that call really_sleep
    return made


def run(agent: Agent, *statuses: Answer, **inputs: str) -> Ended:
    agent.plan["ml job show*--query status"] = list(statuses)
    return agent.run(SCRIPT, **INPUTS | inputs)


def really_sleep(agent: Agent) -> None:
    agent.link("sleep", "sleep")


class TestFromStartToEnd:
    def test_a_job_that_completes(self, agent: Agent) -> None:
        ended = run(agent, "Queued", "Queued", "Running", "Finalizing", "Completed")
        assert (ended.code, ended.errors) == (0, [])
        assert ended.outputs == {"runId": JOB, "status": "Completed"}
        told = [line.partition(" ")[2] for line in ended.log]
        assert told == [
            f"submitted job {JOB}: {STUDIO}",
            f"job {JOB} is Queued",
            f"job {JOB} is Running, after Queued",
            f"job {JOB} is Finalizing, after Running",
            f"job {JOB} is Completed, after Finalizing",
            f"job {JOB} has completed",
        ]
        assert "--set" not in agent.calls_of("ml job create")[0].arguments
        assert all(re.match(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ ", line) for line in ended.log)
        assert not agent.calls_of("ml job cancel")

    def test_the_arguments_of_az(self, agent: Agent) -> None:
        run(agent, "Completed", AML_JOB_SET="\ninputs.epochs=1\n  inputs.note=two words, $(id) `id` ; 'x'\n\n")
        [create] = agent.calls_of("ml job create")
        assert create.values("--file") == ["train.yml"]
        assert create.values("--set") == ["inputs.epochs=1", "inputs.note=two words, $(id) `id` ; 'x'"]
        assert create.values("--name") == [JOB]
        shows = agent.calls_of("ml job show")
        assert [show.values("--name") for show in shows] == [[JOB], [JOB]]
        for call in (create, *shows):
            assert call.values("--resource-group") + call.values("--workspace-name") == ["rg-mlops", "mlops"]
            assert call.environment["AZUREML_CURRENT_CLOUD"] == "AzureCloud"

    @pytest.mark.parametrize("cloud", ["AzureChinaCloud", "AzureUSGovernment"])
    def test_other_clouds_and_a_missing_extension_which_is_added(self, agent: Agent, cloud: str) -> None:
        agent.plan |= {"extension show": [{"code": 3}], "extension add": [""]}
        assert run(agent, "Completed", AML_CLOUD=cloud).code == 0
        assert {call.environment["AZUREML_CURRENT_CLOUD"] for call in agent.calls} == {cloud}
        [added] = agent.calls_of("extension add")
        assert added.values("--version") == ["2.44.1"]
        assert added.environment["AZURE_EXTENSION_DIR"].endswith("/azure-cli-ml-2.44.1")

    def test_a_job_without_a_page_in_the_studio(self, agent: Agent) -> None:
        agent.plan["ml job show*services"] = ["None"]
        ended = run(agent, "Failed")
        assert ended.code == 5
        assert ended.errors == [f"job {JOB} has failed; see its logs"]


class TestEnds:
    @pytest.mark.parametrize(
        ("statuses", "code", "reported", "error", "requests"),
        [
            (["Running", "Failed"], 5, "Failed", f"has failed; see its logs at {STUDIO}", 2),
            (["Running", "CancelRequested", "Canceled"], 6, "Canceled", "was canceled in Azure ML", 3),
            *(
                (["Running", answer], 4, "Running", f"could not be read; the job continues: {STUDIO}", 1 + 5)
                for answer in (LOST, "", "two words", "##vso[task.setvariable variable=x]y", {"code": 1})
            ),
        ],
    )
    def test_a_job_that_is_not_canceled(
        self, agent: Agent, statuses: list[Answer], code: int, reported: str, error: str, requests: int
    ) -> None:
        ended = run(agent, *statuses)
        assert (ended.code, ended.outputs["status"]) == (code, reported)
        assert [text.partition(f"job {JOB} ")[2] for text in ended.errors] == [error]
        assert len(agent.calls_of("ml job show")) == 1 + requests, "one for the studio link, the others for the status"
        assert not agent.calls_of("ml job cancel")

    def test_a_job_that_cannot_be_created(self, agent: Agent) -> None:
        agent.plan["ml job create"] = [{"err": "ERROR: (UserError) no compute\nnamed x\n", "code": 1}]
        ended = run(agent, "Completed")
        assert ended.code == 3
        [error] = ended.errors
        assert error.endswith("could not be created: ERROR: (UserError) no compute named x")
        assert not agent.calls_of("ml job show")

    def test_a_failed_request_for_the_status_is_repeated(self, agent: Agent) -> None:
        ended = run(agent, LOST, LOST, LOST, LOST, "Running", LOST, LOST, LOST, LOST, "Completed")
        assert ended.code == 0
        assert any("no status (4 of 5): ERROR: (429)" in line for line in ended.log)

    @pytest.mark.parametrize(
        ("status", "answer", "warnings"),
        [
            ("Running", "", []),
            ("NotResponding", "", []),
            ("Wobbling", "", []),
            ("Running", LOST, [f"cancel it by hand at {STUDIO}: ERROR: (429) Too many requests"]),
        ],
    )
    def test_the_time_limit_ends_every_other_status(
        self, agent: Agent, status: str, answer: Answer, warnings: list[str]
    ) -> None:
        really_sleep(agent)
        agent.plan["ml job cancel"] = [answer]
        ended = run(agent, status, AML_TIME_LIMIT="1s")
        assert (ended.code, ended.outputs["status"]) == (7, status)
        assert ended.errors == [f"job {JOB} is {status} after the time limit of 1s"]
        assert [text.partition("; ")[2] for text in ended.warnings] == warnings
        assert [call.values("--name") for call in agent.calls_of("ml job cancel")] == [[JOB]]

    def test_a_job_that_completes_at_the_time_limit_has_completed(self, agent: Agent) -> None:
        really_sleep(agent)
        assert run(agent, "Running", "Completed", AML_TIME_LIMIT="3s", AML_POLL_INTERVAL="1h").code == 0


class TestPipelineCanceled:
    """Signals of the agent."""

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_while_it_waits(self, agent: Agent, number: signal.Signals) -> None:
        really_sleep(agent)
        agent.plan["ml job show*--query status"] = ["Running"]
        process = agent.start(SCRIPT, **LONG)
        agent.wait_for_calls("ml job show", 2)
        self._until(process.stdout.readline if process.stdout else str, "is Running")
        process.send_signal(number)
        ended = agent.end(process)
        assert ended.code == 8
        assert ended.errors == [f"the pipeline was canceled while job {JOB} was Running"]
        assert [call.values("--name") for call in agent.calls_of("ml job cancel")] == [[JOB]]

    def test_children_that_are_ended_early_keep_the_files_of_the_script(self, agent: Agent) -> None:
        """A signal that reaches a child before it is another program makes bash run the script's traps in the child."""
        really_sleep(agent)
        lines = (
            f'source "{SCRIPTS}/aml_job.sh"',
            "prepare",
            "trap true TERM",
            '{ for _ in {1..300}; do sleep 5 & kill "$!"; done; wait; } 2>/dev/null',
            "[[ -d $scratch ]]",
        )
        assert agent.shell("\n".join(lines), **INPUTS).code == 0

    def test_during_a_call_of_az(self, agent: Agent) -> None:
        agent.plan["ml job show*--query status"] = [{"out": "Running", "seconds": 60}]
        process = agent.start(SCRIPT, **INPUTS)
        agent.wait_for_calls("ml job show", 2)
        process.send_signal(signal.SIGINT)
        assert agent.end(process).code == 8
        assert len(agent.calls_of("ml job cancel")) == 1
        assert not agent.calls_of("ml job show")[-1].is_running, "the interrupted call is still running"

    @pytest.mark.parametrize(
        ("answer", "logged"),
        [
            ("", f"asked Azure ML to cancel job {JOB}"),
            ({"err": "ERROR: (UserError) Run <name> was not found", "code": 3}, f"there is no job {JOB}"),
        ],
        ids=["created", "not created"],
    )
    @pytest.mark.parametrize("script", [SCRIPT, "aml_job_submit.sh"])
    def test_while_the_job_is_being_created(self, agent: Agent, script: str, answer: Answer, logged: str) -> None:
        """The name is known before the job exists, also to the step that cancels the job after this one."""
        agent.plan |= {"ml job create": [{"seconds": 60}], "ml job cancel": [answer]}
        process = agent.start(script, **INPUTS)
        agent.wait_for_calls("ml job create")
        process.send_signal(signal.SIGTERM)
        ended = agent.end(process)
        error = f"the pipeline was canceled while job {JOB} was submitted"
        assert (ended.code, ended.outputs, ended.errors, ended.warnings) == (8, {"runId": JOB}, [error], [])
        assert ended.log[-1].endswith(logged)
        assert [call.values("--name") for call in agent.calls_of("ml job cancel")] == [[JOB]]
        assert not agent.calls_of("ml job create")[0].is_running

    def test_before_a_job_is_submitted(self, agent: Agent) -> None:
        agent.plan["extension show"] = [{"code": 3}]
        agent.plan["extension add"] = [{"until": "signaled"}]
        process = agent.start(SCRIPT, **INPUTS)
        agent.wait_for_calls("extension add")
        process.send_signal(signal.SIGTERM)
        (agent.folder / "signaled").touch()
        ended = agent.end(process)
        assert ended.outputs == {}
        assert not agent.calls_of("ml job create")

    def test_the_second_signal_does_not_stop_the_cancellation(self, agent: Agent) -> None:
        agent.plan |= {
            "ml job show*--query status": [{"out": "Running", "seconds": 60}],
            "ml job cancel": [{"seconds": 0.5}],
        }
        process = agent.start(SCRIPT, **INPUTS)
        agent.wait_for_calls("ml job show", 2)
        process.send_signal(signal.SIGINT)
        agent.wait_for_calls("ml job cancel")
        process.send_signal(signal.SIGTERM)
        ended = agent.end(process)
        assert ended.code == 8
        assert any("asked Azure ML to cancel" in line for line in ended.log)

    @pytest.mark.parametrize("step", range(10))
    def test_at_any_time_the_job_is_canceled(self, agent: Agent, step: int) -> None:
        really_sleep(agent)
        agent.plan["ml job show*--query status"] = ["Running"]
        process = agent.start(SCRIPT, **LONG)
        agent.wait_for_calls("ml job create")
        time.sleep(0.02 * step)  # to hit a different line of the script each time; any line will do
        process.send_signal(signal.SIGINT if step % 2 else signal.SIGTERM)
        assert agent.end(process).code == 8
        assert [call.values("--name") for call in agent.calls_of("ml job cancel")] == [[JOB]]

    def test_the_scripts_use_no_command_substitution_after_the_trap(self) -> None:
        """During a command substitution, bash 5.2 fails to run the handler about one time in thirty."""
        text = (SCRIPTS / "aml_job.sh").read_text() + (SCRIPTS / SCRIPT).read_text()
        code = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
        assert re.findall(r"\$\((?!\()\S+|`", code) == ["$(mktemp"], "before the trap is set"

    @staticmethod
    def _until(readline: Callable[[], str], text: str) -> None:
        while text not in (line := readline()):
            assert line, f"the script ended before it printed: {text}"


class TestWrongUsage:
    @pytest.mark.parametrize(
        ("inputs", "message"),
        [
            ({"AML_RESOURCE_GROUP": "", "AML_WORKSPACE": ""}, "must be set: AML_RESOURCE_GROUP AML_WORKSPACE"),
            ({"AML_JOB_FILE": ""}, "must be set: AML_JOB_FILE"),
            ({"AML_JOB_FILE": "nowhere.yml"}, "the job file nowhere.yml does not exist"),
            ({"AML_JOB_SET": "inputs.epochs 1"}, "a change to the job must be path=value, such as"),
            ({"AML_JOB_SET": "--file=other.yml"}, "got '--file=other.yml'"),
            ({"AML_CLOUD": "AzureGermanCloud"}, "AzureUSGovernment, got 'AzureGermanCloud'"),
            ({"AML_TIME_LIMIT": "soon"}, "AML_TIME_LIMIT must be a duration such as 90s"),
            ({"AML_TIME_LIMIT": "0s"}, "got '0s'"),
            ({"AML_POLL_INTERVAL": "30"}, "AML_POLL_INTERVAL must be a duration such as 90s"),
            ({"AML_POLL_INTERVAL": "-1s"}, "got '-1s'"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_is_reported_before_anything_is_done(self, agent: Agent, inputs: dict[str, str], message: str) -> None:
        ended = run(agent, "Completed", **inputs)
        assert (ended.code, ended.outputs) == (2, {})
        assert len(ended.errors) == 1
        assert message in ended.errors[0]
        assert not agent.calls_of("ml job create")

    @pytest.mark.parametrize(("text", "seconds"), [("08s", 8), ("1m", 60), ("2d", 172_800)])
    def test_durations_are_written_as_in_routes_yaml(self, agent: Agent, text: str, seconds: int) -> None:
        script = f'source "{SCRIPTS}/aml_job.sh"; read_seconds LENGTH; echo "$REPLY"'
        ended = agent.shell(script, LENGTH=text)
        assert ended.out == f"{seconds}\n"

    def test_without_az(self, agent: Agent) -> None:
        (agent.bin / "az").unlink()
        ended = run(agent, "Completed")
        assert ended.code == 2
        assert "az is not on the PATH" in ended.errors[0]

    def test_without_the_extension(self, agent: Agent) -> None:
        agent.plan |= {"extension show": [{"code": 3}], "extension add": [{"err": "no network", "code": 1}]}
        ended = run(agent, "Completed")
        assert ended.code == 2
        assert ended.errors == ["the Azure CLI lacks the extension ml 2.44.1, which could not be added: no network"]
