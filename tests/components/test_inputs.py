"""The inputs of the component: defaults, and errors that are reported together."""

from datetime import timedelta

import pytest

from components.trigger_pipeline.inputs import VAULT_SUFFIXES, Inputs, InvalidInputs, read_inputs
from tests.support.canaries import leaks, secret

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


class TestThePlaybooksInputs:
    def test_all_are_read(self) -> None:
        inputs = read()
        assert (inputs.model_path.name, inputs.model_name) == ("model", "digits")
        credential = ("pat", "https://kv-mlops.vault.azure.net", "ado-pat")
        assert (inputs.auth, inputs.vault_url, inputs.secret_name) == credential
        assert (inputs.organization_url, inputs.project) == ("https://dev.azure.com/contoso", "mlops")
        assert (inputs.branch, inputs.api_version) == ("main", "6.0-preview.1")
        assert (inputs.pipeline_id, inputs.pipeline_version) == (12, 3)
        assert sent(inputs) == ({}, {"model_name": "{{ model_name }}", "run_id": "{{ run_id }}"})

    def test_only_five_are_required(self) -> None:
        inputs = read(kvname=None, secretname=None, branch=None, apiversion=None, pipelineversion=None)
        assert (inputs.auth, inputs.vault_url) == ("identity", None)
        assert (inputs.branch, inputs.api_version, inputs.pipeline_version) == (None, "7.1", None)
        assert (inputs.look_back, inputs.settle) == (timedelta(days=7), timedelta(minutes=2))
        assert inputs.time_limit == timedelta(minutes=10)


def sent(inputs: Inputs) -> tuple[dict[str, str], dict[str, str]]:
    """Return the parameters and the variables as they are written."""
    parameters, variables = (
        {name: template.text for name, template in templates.items()}
        for templates in (inputs.parameters, inputs.variables)
    )
    return parameters, variables


@pytest.mark.parametrize(
    ("environment", "job"), [(JOB, "job-1"), ({"AZUREML_RUN_ID": "step-1"}, "step-1")], ids=["of a job", "alone"]
)
def test_a_step_is_identified_by_its_job(environment: dict[str, str], job: str) -> None:
    assert read(environment).job_run_id == job


@pytest.mark.parametrize("cloud", VAULT_SUFFIXES)
def test_the_domain_of_the_vault_depends_on_the_cloud(cloud: str) -> None:
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
def test_given_parameters_or_variables_replace_those_of_the_playbook(
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
def test_a_credential_is_not_sent_elsewhere(org: str) -> None:
    assert f"org must be an organization's name or an https:// URL, got '{org.rstrip('/')}'" in problem(org=org)


@pytest.mark.parametrize("org", ["https://user:{}@host/x", "https://{}@host/x", "https://host/x?{}", "user:{}@host"])
def test_a_credential_in_the_organization_is_refused_and_not_shown(org: str) -> None:
    message = problem(org=org.format(secret("pat")))
    assert "org must not contain a user name, password, query or fragment" in message
    assert leaks(message) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"secretname": None}, "kvname and secretname must be given together"),
        ({"kvname": None}, "kvname and secretname must be given together"),
        ({"auth": "identity"}, "auth 'identity' does not use kvname"),
        ({"auth": "pat", "kvname": None, "secretname": None}, "auth 'pat' needs a PAT"),
        ({"auth": "token"}, "auth must be 'identity' or 'pat', got 'token'"),
        ({"cloud": "AzureGermanCloud"}, "AzureUSGovernment, got 'AzureGermanCloud'"),
        ({"kvname": "kv.vault.azure.net"}, "without its domain, got 'kv.vault.azure.net'"),
        ({"kvname": "evil.example/x"}, "kvname must be the name of a Key Vault"),
        (
            {"parameters": "{runId: x}"},
            'parameters must be a JSON object of strings such as {"runId": "{{ run_id }}"}',
        ),
        ({"parameters": '["a"]'}, "parameters must be a JSON object"),
        ({"parameters": '{"a": null}'}, "parameters must be a JSON object"),
        (
            {"parameters": '{"a": "{{ run_idd }}"}'},
            "uses the name 'run_idd', which does not exist here; did you mean",
        ),
        ({"parameters": '{"a": "$(secret)"}'}, "parameters.a contains '$('"),
        ({"parameters": '{"a": "{{ run_id"}'}, "parameters.a has a placeholder that is not closed"),
        ({"parameters": '{"key": "x"}', "correlationparameter": "key"}, "must not be one of parameters"),
        ({"project": ""}, "project must not be empty"),
        ({"pipelineid": "evaluation"}, "pipelineid must be a whole number greater than zero, got 'evaluation'"),
        ({"pipelineid": "0"}, "greater than zero, got '0'"),
        ({"pipelineversion": "latest"}, "pipelineversion must be a whole number greater than zero, got 'latest'"),
        ({"apiversion": "7.1&x=y"}, "apiversion must be a version such as 7.1 or 7.2-preview.1, got '7.1&x=y'"),
        ({"settle": "soon"}, "settle: 'soon' is not a duration"),
        ({"settle": "6m"}, "timelimit must be at least twice as long as settle"),
        ({"modelpath": None}, "required: --modelpath"),
        ({"nonsense": "x"}, "unrecognized arguments"),
    ],
)
def test_invalid_inputs_are_refused(changes: dict[str, str | None], message: str) -> None:
    assert message in problem(**changes)


def test_all_problems_are_reported_together() -> None:
    message = problem({}, org="a b", project="", pipelineid="x", auth="y", lookback="z")
    assert message.count(";") >= 5
    for name in ("org", "project", "pipelineid", "auth", "lookback", "run it as a step of an Azure ML job"):
        assert name in message
