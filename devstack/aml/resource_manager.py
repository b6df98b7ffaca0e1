"""The part of Azure Resource Manager that returns jobs: ``GET {workspace}/jobs/{name}?api-version=…``.

``PATCH`` of the same address registers a post-back; see post_back.py. Requests need a bearer token. Source of the
answer's shape: Azure ML's REST API 2024-04-01, Jobs - Get. Errors have Resource Manager's form,
``{"error": {"code", "message"}}``. The code is ``ResourceNotFound`` for an unknown workspace, and Azure ML's own
``UserError`` for an unknown job and for a wrong body.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from werkzeug.wrappers import Response

from devstack.aml.post_back import PostBackError, read_post_backs

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from werkzeug.wrappers import Request

    from devstack.aml.jobs import Job, Jobs

SUBSCRIPTIONS_PREFIX = "/subscriptions/"
MANAGEMENT = "https://management.azure.com"
"""The resource of tokens for Azure Resource Manager."""

_JOB_PATH = re.compile(
    r"(?P<workspace>/subscriptions/[^/]+/resourceGroups/(?P<group>[^/]+)"
    r"/providers/Microsoft\.MachineLearningServices/workspaces/(?P<name>[^/]+))/jobs/(?P<job>[^/]+)/?",
    re.IGNORECASE,
)
_VERSION = re.compile(r"20\d\d-\d\d-\d\d(-preview)?")


class ResourceManager:
    """Answers requests for jobs.

    :param accept: returns whether an Authorization header contains a bearer token that is valid for a resource.
    """

    def __init__(self, jobs: Jobs, accept: Callable[[str, str], bool]) -> None:
        self._jobs = jobs
        self._accept = accept

    def answer(self, request: Request) -> Response:
        """Return the answer to a request below ``/subscriptions/``."""
        authorization = request.headers.get("Authorization", "")
        if not authorization:
            return _unauthorized("AuthenticationFailed", "Authentication failed. There is no 'Authorization' header.")
        # A client that is configured with the emulator's URL asks for a token for that URL.
        audiences = (MANAGEMENT, request.host_url.rstrip("/"))
        if not any(self._accept(authorization, audience) for audience in audiences):
            return _unauthorized("InvalidAuthenticationToken", "The access token is invalid.")
        return self._answer_authorized(request)

    def _answer_authorized(self, request: Request) -> Response:
        version = request.args.get("api-version", "")
        if not version:
            return _error(400, "MissingApiVersionParameter", "The query must have an api-version.")
        match = _JOB_PATH.fullmatch(request.path)
        if match is None:
            return _error(404, "InvalidResourceType", f"There is no resource type at {request.path}.")
        if not _VERSION.fullmatch(version):
            return _error(400, "InvalidResourceType", f"The api-version '{version}' is not one of this resource type.")
        if request.method not in {"GET", "PATCH"}:
            return _error(405, "MethodNotAllowed", f"The emulator does not support {request.method} for jobs.")
        job = self._jobs.get(match["workspace"], match["job"])
        if job is None:
            return self._not_found(match)
        return _answer(job_document(job)) if request.method == "GET" else self._register(job, request)

    def _register(self, job: Job, request: Request) -> Response:
        try:
            self._jobs.add_post_backs(job.workspace, job.name, read_post_backs(request.get_json(silent=True)))
        except PostBackError as exc:
            return _error(400, "UserError", f"{exc}.")
        return _answer(job_document(job))

    def _not_found(self, match: re.Match[str]) -> Response:
        if self._jobs.has_workspace(match["workspace"]):
            return _error(404, "UserError", f"Job {match['job']} not found.")
        resource = f"Microsoft.MachineLearningServices/workspaces/{match['name']}"
        message = f"The Resource '{resource}' under resource group '{match['group']}' was not found."
        return _error(404, "ResourceNotFound", message)


def job_document(job: Job) -> dict[str, object]:
    """Return a command job in Azure ML's form."""
    studio = f"https://ml.azure.com/runs/{job.name}?wsid={job.workspace}"
    return {
        "id": f"{job.workspace}/jobs/{job.name}",
        "name": job.name,
        "type": "Microsoft.MachineLearningServices/workspaces/jobs",
        "properties": {
            "jobType": "Command",
            "status": job.status,
            "displayName": job.name,
            "experimentName": "Default",
            "description": None,
            "tags": {},
            "properties": {},
            "services": {"Studio": {"jobServiceType": "Studio", "port": None, "endpoint": studio, "status": None}},
            "computeId": f"{job.workspace}/computes/cpu-cluster",
            "command": "python train.py",
            "environmentId": f"{job.workspace}/environments/train/versions/1",
            "inputs": {},
            "outputs": {},
            "isArchived": False,
        },
        "systemData": {
            "createdAt": _time(job.created),
            "createdBy": "devstack",
            "createdByType": "User",
            "lastModifiedAt": _time(job.changed),
        },
    }


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f") + "0+00:00"


def _answer(document: dict[str, object], status: int = 200) -> Response:
    return Response(json.dumps(document), status, content_type="application/json; charset=utf-8")


def _error(status: int, code: str, message: str) -> Response:
    return _answer({"error": {"code": code, "message": message}}, status)


def _unauthorized(code: str, message: str) -> Response:
    answer = _error(401, code, message)
    answer.headers["WWW-Authenticate"] = f'Bearer authorization_uri="{MANAGEMENT}", error="invalid_token"'
    return answer
