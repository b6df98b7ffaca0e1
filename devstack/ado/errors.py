"""The error answers of the emulated service.

Endpoints raise ``ApiError``, and the dispatcher converts it to an answer. Its body is the wrapped exception that Azure
DevOps sends: ``$id, innerException, message, typeName, typeKey, errorCode, eventId``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_CORE = "Microsoft.VisualStudio.Services.Common"
_FRAMEWORK = "Microsoft.TeamFoundation.Framework.Server"
_PIPELINES = "Microsoft.Azure.Pipelines.WebApi"
_BUILD = "Microsoft.TeamFoundation.Build.WebApi"
_TASKS = "Microsoft.TeamFoundation.DistributedTask.WebApi"
# The assembly after the comma does not always have the name of the namespace.
_ASSEMBLIES = {_BUILD: "Microsoft.TeamFoundation.Build2.WebApi"}


class ApiError(Exception):
    """An error answer: the HTTP status, the .NET type of the exception, and a message."""

    def __init__(
        self, status: int, namespace: str, key: str, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.key = key
        self.message = message
        self.type_name = f"{namespace}.{key}, {_ASSEMBLIES.get(namespace, namespace)}"
        self.headers = dict(headers or {})

    @property
    def body(self) -> dict[str, object]:
        """The wrapped exception. Nearly all exceptions of the service have the event ID 3000."""
        return {
            "$id": "1",
            "innerException": None,
            "message": self.message,
            "typeName": self.type_name,
            "typeKey": self.key,
            "errorCode": 0,
            "eventId": 3000,
        }


def unauthorized(host_url: str) -> ApiError:
    message = "TF400813: The user '' is not authorized to access this resource."
    challenge = {"WWW-Authenticate": f'Basic realm="{host_url}"'}
    return ApiError(401, _FRAMEWORK, "UnauthorizedRequestException", message, challenge)


def project_not_found(organization: str, project: str) -> ApiError:
    message = (
        f"TF200016: The project {project} does not exist in the organization {organization}. "
        "Check the names and whether the project has been deleted."
    )
    return ApiError(404, "Microsoft.TeamFoundation.Core.WebApi", "ProjectDoesNotExistWithNameException", message)


def pipeline_not_found(pipeline_id: int, version: int | None = None, status: int = 404) -> ApiError:
    """Return the error for an unknown pipeline. The service answers previews with 500, and other requests with 404."""
    which = f"The pipeline '{pipeline_id}'" if version is None else f"Version {version} of pipeline '{pipeline_id}'"
    return ApiError(status, _PIPELINES, "PipelineNotFoundException", f"{which} does not exist")


def definition_disabled(name: str, project: str) -> ApiError:
    """Return the error for a run or a preview of a disabled pipeline.

    The type is known from code of Azure DevOps Server 2022. The status is inferred: the Pipelines API of that code maps
    this type to no status, as it does for PipelineNotFoundException in previews, which are answered with 500.
    """
    message = f"No run of pipeline {name} in project {project} can be queued, because the pipeline is disabled."
    return ApiError(500, _BUILD, "DefinitionDisabledException", message)


def run_not_found(run_id: int) -> ApiError:
    return ApiError(404, _PIPELINES, "RunNotFoundException", f"Run {run_id} could not be found.")


def orchestration_exists(orchestration_id: str) -> ApiError:
    message = f"A run with the orchestration ID {orchestration_id} already exists."
    return ApiError(400, _PIPELINES, "RunOrchestrationExistsException", message)


def build_not_found(build_id: int) -> ApiError:
    return ApiError(404, _BUILD, "BuildNotFoundException", f"The requested build {build_id} could not be found.")


def invalid_pipeline_request(message: str) -> ApiError:
    """Return the error for a run with invalid parameters, variables, branch or stages."""
    return ApiError(400, _PIPELINES, "PipelineValidationException", message)


def queue_permission_missing(pipeline_id: int, name: str, project: str) -> ApiError:
    message = (
        "TF215106: Access denied. devstack needs Queue builds permissions for build pipeline "
        f"{pipeline_id}:{name} in team project {project} to perform the action."
    )
    return ApiError(403, _BUILD, "AccessDeniedException", message)


def build_status_change_refused(build_id: int, status: str) -> ApiError:
    message = f"The status of build {build_id} cannot be changed: it is {status}."
    return ApiError(400, _BUILD, "BuildStatusInvalidChangeException", message)


def plan_not_found(plan_id: str, status: int = 404) -> ApiError:
    """Return the error for a plan that is unknown or has ended. For the latter, ``status`` may be 410."""
    message = f"No plan found for identifier {plan_id}."
    return ApiError(status, _TASKS, "TaskOrchestrationPlanNotFoundException", message)


def job_not_found(job_id: str, plan_id: str) -> ApiError:
    message = f"Plan {plan_id} has no job {job_id}."
    return ApiError(404, _TASKS, "TaskOrchestrationJobNotFoundException", message)


def task_not_found(task_id: str) -> ApiError:
    message = f"Task instance {task_id} does not exist. To start one, use POST /_emulator/tasks."
    return ApiError(404, "Devstack", "TaskNotFoundException", message)


def record_not_found(record_id: str, plan_id: str, what: str = "timeline record") -> ApiError:
    return ApiError(404, _FRAMEWORK, "ResourceNotFoundException", f"Plan {plan_id} has no {what} {record_id}.")


def version_not_specified(method: str) -> ApiError:
    message = (
        f'No api-version was supplied for the "{method}" request. The version must be supplied either as part of the '
        'Accept header (e.g. "application/json; api-version=1.0") or as a query parameter (e.g. "?api-version=1.0").'
    )
    return ApiError(400, _CORE, "VssVersionNotSpecifiedException", message)


def version_out_of_range(version: str, newest: str) -> ApiError:
    message = (
        f"The requested REST API version of {version} is out of range for this server. "
        f"The latest REST API version this server supports is {newest}."
    )
    return ApiError(400, _CORE, "VssVersionOutOfRangeException", message)


def version_is_preview(version: str) -> ApiError:
    message = (
        f'The requested version "{version}" of the resource is under preview. The -preview flag must be supplied in '
        f'the api-version for such requests. For example: "{version}-preview"'
    )
    return ApiError(400, _CORE, "VssInvalidPreviewVersionException", message)


def invalid_argument(message: str) -> ApiError:
    """Return the error for an invalid query parameter or body."""
    return ApiError(400, _CORE, "VssPropertyValidationException", message)


def content_type_not_supported(method: str, content_type: str, wanted: str = "application/json") -> ApiError:
    message = (
        f'The request indicated a Content-Type of "{content_type}" for method type "{method}" which is not supported. '
        f"Valid content types for this method are: {wanted}."
    )
    return ApiError(415, _FRAMEWORK, "VssRequestContentTypeNotSupportedException", message)


def not_found() -> ApiError:
    return ApiError(404, _FRAMEWORK, "ResourceNotFoundException", "There is no resource at this address.")


def method_not_allowed(method: str, allowed: list[str]) -> ApiError:
    message = f"The requested resource does not support the HTTP method {method}."
    return ApiError(405, _FRAMEWORK, "MethodNotAllowedException", message, {"Allow": ", ".join(sorted(allowed))})
