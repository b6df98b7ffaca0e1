"""The program: from its inputs to one request, one run, and an exit code that says what happened."""

import hashlib
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from enum import IntEnum
from functools import partial
from typing import Any

from components.trigger_pipeline.inputs import Inputs, InvalidInputs, read_inputs
from components.trigger_pipeline.model_file import NoTrainingRun, training_run
from components.trigger_pipeline.trigger import Trigger
from shared.azure_devops.client import PipelinesClient
from shared.azure_devops.runs import API_VERSION, RunRequest
from shared.credentials import (
    Credential,
    azure_identity,
    entra_token,
    pat_from_environment,
    pat_from_key_vault,
)
from shared.errors import (
    AnswerLost,
    AzureDevOpsError,
    CredentialRejected,
    CredentialUnavailable,
    PermissionDenied,
    RenderingRefused,
    RequestRefused,
)
from shared.http.message import HttpRequest, HttpResponse
from shared.http.transport import RequestsTransport, Transport


class ExitCode(IntEnum):
    """What happened, for whoever looks at the failed step."""

    DONE = 0
    INVALID_INPUTS = 2
    NO_TRAINING_RUN = 3
    CREDENTIAL_UNAVAILABLE = 4
    CREDENTIAL_REJECTED = 5
    PERMISSION_DENIED = 6
    UNKNOWN_PIPELINE = 7
    REQUEST_REFUSED = 8
    NOT_NOW = 9
    ANSWER_LOST = 10


def print_line(text: str) -> None:
    """Tell whoever reads the step's log, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    *,
    say: Callable[[str], None] = print_line,
    sleep: Callable[[float], None] = time.sleep,
) -> ExitCode:
    """Do what the component is for; whatever goes wrong is said in one line, the last one."""
    try:
        inputs = read_inputs(arguments, environment)
        request = build_request(inputs, training_run(inputs.model_path))
    except InvalidInputs as exc:
        say(f"error: the inputs are wrong: {exc}")
        return ExitCode.INVALID_INPUTS
    except RenderingRefused as exc:
        say(f"error: a value may not pass into a pipeline: {exc}")
        return ExitCode.INVALID_INPUTS
    except NoTrainingRun as exc:
        say(f"error: {exc}")
        return ExitCode.NO_TRAINING_RUN
    transport = RequestsTransport(connections=1)
    pipelines = PipelinesClient(credential(inputs, environment), speaking(inputs.api_version, transport), sleep=sleep)
    trigger = Trigger(
        pipelines,
        inputs.job_run_id,
        look_back=inputs.look_back,
        settle=inputs.settle,
        time_limit=inputs.time_limit,
        say=say,
        sleep=sleep,
    )
    try:
        triggered = trigger.fire(request)
    except AzureDevOpsError as exc:
        code, message = explain(exc, inputs)
        say(f"error: {message}")
        return code
    finally:
        transport.close()
    say(f"run {triggered.run.id} {triggered.how}: {triggered.run.url}")
    if inputs.run_url_file is not None:
        inputs.run_url_file.parent.mkdir(parents=True, exist_ok=True)
        inputs.run_url_file.write_text(triggered.run.url + "\n", encoding="utf-8")
    return ExitCode.DONE


def build_request(inputs: Inputs, run_id: str) -> RunRequest:
    """The run that is asked for. The values pass the same guard as the app's.

    :raises RenderingRefused: one could be read as script or macro.
    """
    scope = {"model_name": inputs.model_name, "run_id": run_id, "job_run_id": inputs.job_run_id}
    request = RunRequest(
        organization_url=inputs.organization_url,
        project=inputs.project,
        pipeline=inputs.pipeline_id,
        branch=inputs.branch,
        parameters={name: template.render(scope) for name, template in inputs.parameters.items()},
        variables={name: template.render(scope) for name, template in inputs.variables.items()},
        pipeline_version=inputs.pipeline_version,
    )
    correlation = inputs.correlation_parameter
    if correlation is None:
        return request
    key = hashlib.sha256(json.dumps([inputs.job_run_id, request.to_json()]).encode()).hexdigest()
    return replace(request, parameters={**request.parameters, correlation: key}, correlation_parameter=correlation)


def credential(inputs: Inputs, environment: Mapping[str, str], **options: Any) -> Credential:
    """The way the inputs choose to prove who the job is. On Azure ML's compute that is its managed identity.

    :param options: handed to the Key Vault's client, for example its transport.
    """
    client_id = environment.get("AZURE_CLIENT_ID") or environment.get("DEFAULT_IDENTITY_CLIENT_ID")
    identity = partial(azure_identity, client_id, in_azure="MSI_ENDPOINT" in environment)
    if inputs.auth == "identity":
        return entra_token(identity)
    if inputs.vault_url and inputs.secret_name:
        return pat_from_key_vault(inputs.vault_url, inputs.secret_name, identity, **options)
    return pat_from_environment(lambda: environment.get("AZURE_DEVOPS_EXT_PAT"))


def speaking(api_version: str, transport: Transport) -> Transport:
    """The transport, with another version of the REST API than the one that the client names."""

    def send(request: HttpRequest, authorization: str, timeout_seconds: float) -> HttpResponse:
        url = request.url.replace(f"api-version={API_VERSION}", f"api-version={api_version}")
        return transport(request._replace(url=url), authorization, timeout_seconds)

    return send


def explain(error: AzureDevOpsError, inputs: Inputs) -> tuple[ExitCode, str]:
    """The exit code for an error, and what to do about it."""
    pipeline = f"pipeline {inputs.pipeline_id} of project {inputs.project} in {inputs.organization_url}"
    code, what, advice = ExitCode.NOT_NOW, "nothing was queued", "run the step again later"
    match error:
        case CredentialUnavailable():
            code, what = ExitCode.CREDENTIAL_UNAVAILABLE, "there is no credential for Azure DevOps"
            advice = "on Azure ML's compute the job needs identity: {type: managed}, and the compute a managed identity"
        case CredentialRejected():
            code, what = ExitCode.CREDENTIAL_REJECTED, f"the {_credential_name(inputs)} was rejected"
            advice = f"nothing was queued for {pipeline}"
        case PermissionDenied():
            code, what = ExitCode.PERMISSION_DENIED, f"the {_credential_name(inputs)} may not queue {pipeline}"
            advice = "it needs the permission Queue builds"
        case RequestRefused(not_found=True):
            code, what = ExitCode.UNKNOWN_PIPELINE, f"there is no {pipeline}, or no such version of it"
            advice = "correct pipelineid, pipelineversion, project or org; what may not be seen is not there either"
        case RequestRefused():
            code, what = ExitCode.REQUEST_REFUSED, f"{pipeline} refuses the run"
            advice = "declare what is sent under its parameters, and let its variables be set at queue time"
        case AnswerLost():
            code, what = ExitCode.ANSWER_LOST, f"a run of {pipeline} may have been queued, or not"
            advice = "run the step again, which looks for it"
    return code, f"{what}: {error}; {advice}"


def _credential_name(inputs: Inputs) -> str:
    if inputs.auth == "identity":
        return "job's identity"
    return f"PAT (secret {inputs.secret_name} in {inputs.vault_url})" if inputs.vault_url else "PAT"
