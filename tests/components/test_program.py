"""The component's program against the emulator: requests, messages and exit codes."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from components.trigger_pipeline.inputs import read_inputs
from components.trigger_pipeline.program import ExitCode, credential, main
from devstack.ado import Emulator, Fault, RunRecord, Served, serve
from shared.azure_devops.runs import API_VERSION
from tests.components.conftest import DECLARATION, TOKEN
from tests.support import ROOT
from tests.support.canaries import leaks, secret
from tests.support.services.managed_identity import managed_identity
from tests.support.services.vault import VAULT, Vault, secret_bundle

JOB = {"AZUREML_RUN_ID": "step-1", "AZUREML_ROOT_RUN_ID": "job-1"}


@dataclass
class Step:
    """A step of a job with default inputs."""

    served: Served
    model: Path
    environment: dict[str, str]
    said: list[str] = field(default_factory=list)

    def arguments(self, **changes: str) -> list[str]:
        given = {
            "modelpath": str(self.model),
            "modelname": "digits",
            "auth": "pat",
            "org": self.served.organization_url,
            "project": "mlops",
            "branch": "main",
            "pipelineid": "1",
            "settle": "1s",
            "parameters": '{"runId": "{{ run_id }}"}',
        } | changes
        return [part for name, value in given.items() if value for part in (f"--{name}", value)]

    def run(self, job: str = "job-1", **changes: str) -> tuple[ExitCode, str]:
        """Return the exit code and the last line of the log. Pauses take no time."""
        environment = self.environment | {"AZUREML_ROOT_RUN_ID": job}
        code = main(self.arguments(**changes), environment, say=self.said.append, sleep=lambda _: None)
        return code, self.said[-1]

    @property
    def runs(self) -> tuple[RunRecord, ...]:
        return self.served.emulator.books.runs


@pytest.fixture
def served(pat: str) -> Iterator[Served]:
    with serve(Emulator(DECLARATION, pats={pat}, tokens={TOKEN})) as served:
        yield served


@pytest.fixture
def step(served: Served, model: Path, pat: str) -> Iterator[Step]:
    step = Step(served, model, JOB | {"AZURE_DEVOPS_EXT_PAT": pat})
    yield step
    assert leaks("\n".join(step.said)) == []


class TestWhatIsSent:
    def test_template_parameters(self, step: Step) -> None:
        code, said = step.run(parameters='{"runId": "{{ run_id }}", "modelName": "m-{{ model_name }}"}')
        [run] = step.runs
        assert code == 0
        assert said.startswith(f"run {run.id} queued: {step.served.url}/")
        assert run.template_parameters == {"runId": "brave_fig_7k2m", "modelName": "m-digits", "correlation": "none"}
        assert (run.branch, run.tags, dict(run.variables)) == ("refs/heads/main", ("aml-run:job-1",), {})

    def test_the_playbooks_variables(self, step: Step) -> None:
        assert step.run(pipelineid="2", parameters="")[0] == 0
        variables = {name: variable.value for name, variable in step.runs[0].variables.items()}
        assert variables == {"model_name": "digits", "run_id": "brave_fig_7k2m"}

    def test_the_versions(self, step: Step) -> None:
        assert step.run(apiversion="7.2-preview.1", pipelineversion="2")[0] == 0
        requests = step.served.emulator.books.requests
        queries = [request.query for request in requests if not request.path.endswith("/connectionData")]
        assert all("api-version=7.2-preview.1" in query and API_VERSION + "&" not in query for query in queries)
        assert [query for query in queries if "pipelineVersion=2" in query]

    def test_a_version_that_the_server_does_not_support(self, step: Step) -> None:
        code, said = step.run(apiversion="9.9")
        assert (code, step.runs) == (ExitCode.REQUEST_REFUSED, ())
        assert said.endswith("; set apiversion to one that it supports")

    def test_the_correlation_identifies_the_job(self, step: Step) -> None:
        for job in ("job-1", "job-2", "job-1"):
            assert step.run(job, correlationparameter="correlation")[0] == 0
        first, second = (run.template_parameters["correlation"] for run in step.runs)
        assert re.fullmatch("[0-9a-f]{64}", first)
        assert first != second

    def test_a_second_attempt_finds_the_run_and_writes_its_url(self, step: Step, tmp_path: Path) -> None:
        output = tmp_path / "outputs" / "runurl"
        _, said = step.run(runurl=str(output))
        assert output.read_text() == said.rpartition(" ")[2] + "\n"
        output.unlink()
        code, said = step.run(runurl=str(output))
        assert code == 0
        assert len(step.runs) == 1
        assert said.startswith(f"run {step.runs[0].id} found: an earlier attempt has queued it: http")
        assert output.read_text().strip() in said


class TestHowItEnds:
    @pytest.mark.parametrize(
        ("changes", "code", "said"),
        [
            ({"pipelineid": "99"}, ExitCode.UNKNOWN_PIPELINE, r"pipeline 99 of project mlops in http.+not exist.+404"),
            ({"pipelineversion": "9"}, ExitCode.UNKNOWN_PIPELINE, r"does not exist or is not visible: HTTP 404"),
            ({"project": "nowhere"}, ExitCode.UNKNOWN_PIPELINE, r"of project nowhere"),
            ({"pipelineid": "3"}, ExitCode.PERMISSION_DENIED, r"the PAT may not queue pipeline 3.+HTTP 403"),
            (
                {"parameters": '{"runIdd": "x"}'},
                ExitCode.REQUEST_REFUSED,
                r"refuses the run: HTTP 400.+'runIdd'.+; declare the parameters in the pipeline",
            ),
            ({"branch": "gone"}, ExitCode.REQUEST_REFUSED, r"refs/heads/gone could not be found"),
            ({"parameters": "", "pipelineid": "1"}, ExitCode.REQUEST_REFUSED, r"model_name, run_id.+settable at queue"),
            (
                {"org": "http://127.0.0.1:1/x", "timelimit": "2s"},
                ExitCode.NOT_NOW,
                r"nothing was queued: no connection",
            ),
            (
                {"parameters": '{"modelName": "{{ model_name }}"}', "modelname": "$(x)"},
                ExitCode.INVALID_INPUTS,
                r"'\$\('",
            ),
            ({"pipelineid": "x"}, ExitCode.INVALID_INPUTS, r"invalid inputs: pipelineid must be .+, got 'x'"),
        ],
    )
    def test_each_error_has_its_exit_code(self, step: Step, changes: dict[str, str], code: ExitCode, said: str) -> None:
        ended, told = step.run(**changes)
        assert ended == code
        assert re.search(said, told), told
        assert told.startswith("error: ")
        assert step.runs == ()

    def test_a_rejected_pat(self, step: Step) -> None:
        step.environment["AZURE_DEVOPS_EXT_PAT"] = secret("expired")
        code, said = step.run()
        assert code == ExitCode.CREDENTIAL_REJECTED
        assert "the PAT was rejected: HTTP 203 asks to sign in" in said

    @pytest.mark.parametrize(
        ("text", "code", "said"),
        [
            ("flavors: {}", ExitCode.NO_TRAINING_RUN, "does not contain a run_id"),
            ("run_id: '`rm -rf /`'", ExitCode.INVALID_INPUTS, "a value is not allowed in a pipeline: 'run_id' is"),
        ],
    )
    def test_a_model_whose_run_cannot_be_sent(self, step: Step, text: str, code: ExitCode, said: str) -> None:
        (step.model / "MLmodel").write_text(text)
        ended, told = step.run()
        assert ended == code
        assert said in told

    def test_an_answer_that_is_sent_until_the_time_limit(self, step: Step) -> None:
        step.served.emulator.plan(Fault(accept=False, drop=True, times=1_000_000))
        code = main(step.arguments(timelimit="2s"), step.environment, say=step.said.append)
        assert code == ExitCode.ANSWER_LOST
        assert re.search("it is unknown whether a run of pipeline 1 .+ was queued: the answer was lost", step.said[-1])


class TestAsAProcess:
    """The program as Azure ML starts it, with Azure ML's endpoint for managed identities."""

    def start(self, step: Step, environment: dict[str, str], **changes: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "components.trigger_pipeline", *step.arguments(**changes)]
        # Only what coverage needs: azure-identity must not find other credentials in the environment.
        kept = {name: value for name, value in os.environ.items() if name.startswith(("COV", "PATH"))}
        return subprocess.run(
            command, cwd=ROOT, env=kept | environment, capture_output=True, text=True, timeout=60, check=False
        )

    def test_with_the_jobs_identity(self, step: Step) -> None:
        with managed_identity(TOKEN) as identity:
            ended = self.start(step, JOB | identity.environment, auth="identity")
        assert (ended.returncode, ended.stderr) == (0, "")
        assert len(step.runs) == 1
        assert {request.credential for request in step.served.emulator.books.requests} == {"Bearer"}
        assert identity.asked[0] == {
            "api-version": "2017-09-01",
            "resource": "499b84ac-1321-427f-aa17-267ca6975798",
            "clientid": "11111111-2222-3333-4444-555555555555",
        }

    def test_without_an_identity(self, step: Step) -> None:
        with managed_identity(TOKEN) as identity:
            wrong = identity.environment | {"MSI_SECRET": secret("wrong")}
            ended = self.start(step, JOB | wrong, auth="identity")
        assert ended.returncode == ExitCode.CREDENTIAL_UNAVAILABLE
        assert "the job needs identity: {type: managed}" in ended.stdout
        assert "canary" not in ended.stdout + ended.stderr


def test_the_pat_is_read_from_the_vault_with_the_jobs_identity(monkeypatch: pytest.MonkeyPatch, pat: str) -> None:
    vault = Vault(lambda: secret_bundle(pat))
    arguments = "--modelpath m --modelname m --org contoso --project p --pipelineid 1 --kvname kv --secretname ado-pat"
    with managed_identity(secret("vault-token")) as identity:
        for name, value in identity.environment.items():
            monkeypatch.setenv(name, value)  # where azure-identity looks
        inputs = read_inputs(arguments.replace(" kv ", " kv0 ").split(), JOB)
        made = credential(inputs, identity.environment, transport=vault.transport(), verify_challenge_resource=False)
        assert made.authorization().startswith("Basic ")
    assert identity.asked[0]["resource"] == VAULT.replace("https://kv.", "https://")
    assert vault.urls[-1].startswith("https://kv0.vault.azure.net/secrets/ado-pat/")
