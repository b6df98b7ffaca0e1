"""The component's inputs: defaults, and everything that is wrong told at once."""

from datetime import timedelta

import pytest

from components.trigger_pipeline.inputs import VAULT_SUFFIXES, Inputs, InvalidInputs, read_inputs
from tests.support.canaries import secret

PLAYBOOK = {
    "modelpath": "model",
    "modelname": "digits",
    "kvname": "kv-mlops",
    "secretname": "ado-pat",
    "org": "contoso",
    "project": "mlops",
    "branch": "main",
    "apiversion": "6.0-preview.1",
    "pipelineid": "12",
    "pipelineversion": "3",
}
JOB = {"AZUREML_RUN_ID": "step-1", "AZUREML_ROOT_RUN_ID": "job-1"}


def read(environment: dict[str, str] = JOB, /, **changes: str | None) -> Inputs:
    """The playbook's inputs with these changes; None leaves one out."""
    given = {name: value for name, value in (PLAYBOOK | changes).items() if value is not None}
    return read_inputs([part for name, value in given.items() for part in (f"--{name}", value)], environment)


def problem(environment: dict[str, str] = JOB, /, **changes: str | None) -> str:
    with pytest.raises(InvalidInputs) as raised:
        read(environment, **changes)
    return str(raised.value)


class TestThePlaybooks:
    def test_are_all_there(self) -> None:
        inputs = read()
        assert (inputs.model_path.name, inputs.model_name) == ("model", "digits")
        credential = ("pat", "https://kv-mlops.vault.azure.net", "ado-pat")
        assert (inputs.auth, inputs.vault_url, inputs.secret_name) == credential
        assert (inputs.organization_url, inputs.project) == ("https://dev.azure.com/contoso", "mlops")
        assert (inputs.branch, inputs.api_version) == ("main", "6.0-preview.1")
        assert (inputs.pipeline_id, inputs.pipeline_version) == (12, 3)
        assert sent(inputs) == ({}, {"model_name": "{{ model_name }}", "run_id": "{{ run_id }}"})

    def test_five_of_them_are_enough(self) -> None:
        inputs = read(kvname=None, secretname=None, branch=None, apiversion=None, pipelineversion=None)
        assert (inputs.auth, inputs.vault_url) == ("identity", None)
        assert (inputs.branch, inputs.api_version, inputs.pipeline_version) == (None, "7.1", None)
        assert (inputs.look_back, inputs.settle) == (timedelta(days=7), timedelta(seconds=30))
        assert inputs.time_limit == timedelta(minutes=10)


def sent(inputs: Inputs) -> tuple[dict[str, str], dict[str, str]]:
    """The texts of parameters and variables."""
    parameters, variables = (
        {name: template.text for name, template in templates.items()}
        for templates in (inputs.parameters, inputs.variables)
    )
    return parameters, variables


@pytest.mark.parametrize(
    ("environment", "job"), [(JOB, "job-1"), ({"AZUREML_RUN_ID": "step-1"}, "step-1")], ids=["of a job", "alone"]
)
def test_a_step_is_known_by_its_whole_job(environment: dict[str, str], job: str) -> None:
    assert read(environment).job_run_id == job


@pytest.mark.parametrize("cloud", VAULT_SUFFIXES)
def test_the_vaults_domain_is_the_clouds(cloud: str) -> None:
    assert read(cloud=cloud).vault_url == f"https://kv-mlops.{VAULT_SUFFIXES[cloud]}"


def test_a_pat_may_be_in_the_environment() -> None:
    inputs = read(JOB | {"AZURE_DEVOPS_EXT_PAT": secret("pat")}, kvname=None, secretname=None, auth="pat")
    assert (inputs.auth, inputs.vault_url) == ("pat", None)
    assert "canary" not in repr(inputs)


@pytest.mark.parametrize(
    ("given", "parameters", "variables"),
    [
        (
            {"parameters": '{"runId": "{{ run_id }}", "count": 3, "force": true, "share": 0.5}'},
            {"runId": "{{ run_id }}", "count": "3", "force": "true", "share": "0.5"},
            {},
        ),
        ({"parameters": '{"a": "x"}', "variables": '{"b": "y"}'}, {"a": "x"}, {"b": "y"}),
    ],
)
def test_what_is_given_takes_the_place_of_the_playbooks_variables(
    given: dict[str, str], parameters: dict[str, str], variables: dict[str, str]
) -> None:
    assert sent(read(**given)) == (parameters, variables)


@pytest.mark.parametrize(
    ("org", "url"),
    [
        ("contoso", "https://dev.azure.com/contoso"),
        ("https://dev.azure.com/contoso/", "https://dev.azure.com/contoso"),
        ("https://ado.example.com:8443/tfs/Default", "https://ado.example.com:8443/tfs/Default"),
        ("http://127.0.0.1:7080/contoso", "http://127.0.0.1:7080/contoso"),
    ],
)
def test_an_organization_is_a_name_or_a_url(org: str, url: str) -> None:
    assert read(org=org).organization_url == url


@pytest.mark.parametrize(
    "org",
    ["", "con toso", "../x", "http://ado.example.com/x", "http://127.0.0.1.evil.example/x", "https://", "ftp://x",
     "https://[x", "https://ado.example.com:tfs/x"],
)  # fmt: skip
def test_a_credential_goes_nowhere_else(org: str) -> None:
    assert f"org is '{org.rstrip('/')}'" in problem(org=org)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"secretname": None}, "kvname and secretname belong together"),
        ({"kvname": None}, "kvname and secretname belong together"),
        ({"auth": "identity"}, "auth is 'identity', which needs no kvname"),
        ({"auth": "pat", "kvname": None, "secretname": None}, "auth is 'pat' and there is none"),
        ({"auth": "token"}, "auth is 'token'"),
        ({"cloud": "AzureGermanCloud"}, "cloud is 'AzureGermanCloud'"),
        ({"kvname": "kv.vault.azure.net"}, "without its domain"),
        ({"kvname": "evil.example/x"}, "it must be a Key Vault's name"),
        ({"parameters": "{runId: x}"}, 'parameters must be a JSON object of texts, as in {"runId": "{{ run_id }}"}'),
        ({"parameters": '["a"]'}, "parameters must be a JSON object"),
        ({"parameters": '{"a": null}'}, "parameters must be a JSON object"),
        (
            {"parameters": '{"a": "{{ run_idd }}"}'},
            "uses the name 'run_idd', which does not exist here; did you mean",
        ),
        ({"parameters": '{"a": "$(secret)"}'}, "parameters.a contains '$('"),
        ({"parameters": '{"a": "{{ run_id"}'}, "parameters.a has a placeholder that is not closed"),
        ({"parameters": '{"key": "x"}', "correlationparameter": "key"}, "names one of parameters"),
        ({"project": ""}, "project is empty"),
        ({"pipelineid": "evaluation"}, "pipelineid is 'evaluation'"),
        ({"pipelineid": "0"}, "pipelineid is '0'"),
        ({"pipelineversion": "latest"}, "pipelineversion is 'latest'"),
        ({"apiversion": "7.1&x=y"}, "apiversion is '7.1&x=y'"),
        ({"settle": "soon"}, "settle: 'soon' is not a duration"),
        ({"settle": "6m"}, "timelimit must be at least twice as long as settle"),
        ({"modelpath": None}, "required: --modelpath"),
        ({"nonsense": "x"}, "unrecognized arguments"),
    ],
)
def test_what_cannot_be_right_is_refused(changes: dict[str, str | None], said: str) -> None:
    assert said in problem(**changes)


def test_everything_is_said_at_once() -> None:
    said = problem({}, org="a b", project="", pipelineid="x", auth="y", lookback="z")
    assert said.count(";") >= 5
    for name in ("org", "project", "pipelineid", "auth", "lookback", "run it as a step of an Azure ML job"):
        assert name in said
