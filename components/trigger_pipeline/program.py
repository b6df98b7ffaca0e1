"""The program of the component: it reads the inputs, triggers one run and returns an exit code."""

import hashlib
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from functools import partial
from typing import Any

from components.trigger_pipeline.inputs import Inputs, InvalidInputs, read_inputs
from components.trigger_pipeline.model_file import NoTrainingRun, training_run
from components.trigger_pipeline.trigger import Trigger
from shared.azure_devops.client import PipelinesClient
from shared.azure_devops.runs import RunRequest
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
    VersionNotSupported,
)
from shared.http.transport import RequestsTransport


class ExitCode(IntEnum):
    """The exit codes, which docs/trigger-component.md explains."""

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
    """Write a line to the log of the step and flush it."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    *,
    say: Callable[[str], None] = print_line,
    sleep: Callable[[float], None] = time.sleep,
) -> ExitCode:
    """Run the component and return its exit code. The last line that is printed is the result or the error."""
    try:
        inputs = read_inputs(arguments, environment)
        request = build_request(inputs, training_run(inputs.model_path))
    except InvalidInputs as exc:
        say(f"error: invalid inputs: {exc}")
        return ExitCode.INVALID_INPUTS
    except RenderingRefused as exc:
        say(f"error: a value is not allowed in a pipeline: {exc}")
        return ExitCode.INVALID_INPUTS
    except NoTrainingRun as exc:
        say(f"error: {exc}")
        return ExitCode.NO_TRAINING_RUN
    transport = RequestsTransport(connections=1)
    pipelines = PipelinesClient(credential(inputs, environment), transport, api_version=inputs.api_version, sleep=sleep)
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
    """Build the request from the inputs. Values are checked in the same way as in the app.

    :raises RenderingRefused: if a value could be executed as a script or expanded as a macro.
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
    return request._replace(parameters={**request.parameters, correlation: key}, correlation_parameter=correlation)


def credential(inputs: Inputs, environment: Mapping[str, str], **options: Any) -> Credential:
    """Return the credential that the inputs select: the managed identity of the job's compute, or a PAT.

    :param options: options of the Key Vault client, for example its transport.
    """
    client_id = environment.get("AZURE_CLIENT_ID") or environment.get("DEFAULT_IDENTITY_CLIENT_ID")
    identity = partial(azure_identity, client_id, in_azure="MSI_ENDPOINT" in environment)
    if inputs.auth == "identity":
        return entra_token(identity)
    if inputs.vault_url and inputs.secret_name:
        return pat_from_key_vault(inputs.vault_url, inputs.secret_name, identity, **options)
    return pat_from_environment(lambda: environment.get("AZURE_DEVOPS_EXT_PAT"))


def explain(error: AzureDevOpsError, inputs: Inputs) -> tuple[ExitCode, str]:
    """Return the exit code for an error, and a message that says what to do about it."""
    pipeline = f"pipeline {inputs.pipeline_id} of project {inputs.project} in {inputs.organization_url}"
    code, what, advice = ExitCode.NOT_NOW, "nothing was queued", "run the step again later"
    match error:
        case CredentialUnavailable():
            code, what = ExitCode.CREDENTIAL_UNAVAILABLE, "there is no credential for Azure DevOps"
            advice = "on Azure ML, the job needs identity: {type: managed}, and the compute needs a managed identity"
        case CredentialRejected():
            code, what = ExitCode.CREDENTIAL_REJECTED, f"the {_credential_name(inputs)} was rejected"
            advice = f"nothing was queued for {pipeline}"
        case PermissionDenied():
            code, what = ExitCode.PERMISSION_DENIED, f"the {_credential_name(inputs)} may not queue {pipeline}"
            advice = "grant it the permission Queue builds"
        case VersionNotSupported():
            code, what = ExitCode.REQUEST_REFUSED, "the server does not support this version of the REST API"
            advice = "set apiversion to one that it supports"
        case RequestRefused(not_found=True):
            code, what = (
                ExitCode.UNKNOWN_PIPELINE,
                f"{pipeline}, or this version of it, does not exist or is not visible",
            )
            advice = "correct pipelineid, pipelineversion, project or org, or grant access"
        case RequestRefused():
            code, what = ExitCode.REQUEST_REFUSED, f"{pipeline} refuses the run"
            advice = "declare the parameters in the pipeline, and make its variables settable at queue time"
        case AnswerLost():
            code, what = ExitCode.ANSWER_LOST, f"it is unknown whether a run of {pipeline} was queued"
            advice = "run the step again; it searches for the run first"
    return code, f"{what}: {error}; {advice}"


def _credential_name(inputs: Inputs) -> str:
    if inputs.auth == "identity":
        return "job's identity"
    return f"PAT (secret {inputs.secret_name} in {inputs.vault_url})" if inputs.vault_url else "PAT"
