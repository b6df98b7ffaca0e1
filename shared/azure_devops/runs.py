"""The Azure DevOps Pipelines REST API as plain data: builds requests and reads answers. No I/O.

Source of the formats: Azure DevOps REST API 7.1, Pipelines - Runs and Build - Builds.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, Self
from urllib.parse import quote, urlencode

from shared.errors import AnswerLost
from shared.http.message import HttpRequest

API_VERSION: Final = "7.1"
PAGE_SIZE = 1000
MAX_ID: Final = 2**63 - 1
ORCHESTRATION_HEADER: Final = "X-VSS-E2EID"
CONTINUATION_HEADER: Final = "x-ms-continuationtoken"
# Asks the server to answer a bad credential with a status, not with a redirect to the sign-in page.
_HEADERS: Final = {"X-TFS-FedAuthRedirect": "Suppress"}
_COMPACT: Final = json.JSONEncoder(separators=(",", ":"))


class RunRequest(NamedTuple):
    """One run to queue.

    :param organization_url: ``https://dev.azure.com/contoso``, or the URL of a collection of Azure DevOps Server,
        without a slash at the end.
    :param pipeline: the pipeline's ID, its name, or ``\\folder\\name``.
    :param branch: a short or full name; None for the pipeline's default branch.
    :param correlation_parameter: the name of the parameter whose value is different for every run, and therefore
        identifies the request's run.
    """

    organization_url: str
    project: str
    pipeline: int | str
    branch: str | None = None
    parameters: Mapping[str, str] = {}
    variables: Mapping[str, str] = {}
    stages_to_skip: tuple[str, ...] = ()
    pipeline_version: int | None = None
    correlation_parameter: str | None = None

    @property
    def ref_name(self) -> str | None:
        """The full name of the branch, as in ``refs/heads/main``."""
        if self.branch is None or self.branch.startswith("refs/"):
            return self.branch
        return f"refs/heads/{self.branch}"

    def to_json(self) -> str:
        """Return the request in the form that the journal stores."""
        return _COMPACT.encode(self._asdict())

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what ``to_json`` wrote. Unknown fields are ignored.

        :raises ValueError: the store has cut it, or another program has changed it.
        """
        try:
            fields = {name: value for name, value in json.loads(text).items() if name in cls._fields}
            request = cls(**fields | {"stages_to_skip": tuple(fields["stages_to_skip"])})
            texts = (*request.parameters.items(), *request.variables.items(), request.stages_to_skip)
            texts += ((request.organization_url, request.project, request.branch or "", str(request.pipeline)),)
        except (TypeError, LookupError, AttributeError, RecursionError) as exc:
            raise ValueError(f"not the request of a run: {type(exc).__name__}") from exc
        if not all(isinstance(part, str) for group in texts for part in group):
            raise ValueError("not the request of a run: a value is not a string")
        return request


class Run(NamedTuple):
    """A queued pipeline run.

    :param id: the ID of the run, which is also the build ID.
    :param url: the run's web page.
    :param tags: the tags that a search has found; empty for a run that was just queued.
    """

    id: int
    url: str
    tags: tuple[str, ...] = ()


def azure_devops_request(
    method: str, url: str, body: bytes | None = None, content_type: str = "application/json"
) -> HttpRequest:
    """Return a request with the headers that only Azure DevOps needs."""
    return HttpRequest(method, url, body, content_type, _HEADERS)


def ask_for_identity(request: RunRequest) -> HttpRequest:
    """Return ``GET _apis/connectionData`` of the organization, which names the identity that sends the request."""
    return azure_devops_request("GET", f"{request.organization_url}/_apis/connectionData")


def with_api_version(request: HttpRequest, version: str) -> HttpRequest:
    """Return the request for another version of the REST API, for example 7.0 instead of 7.1."""
    url, parameter, rest = request.url.rpartition(f"api-version={API_VERSION}")
    return request._replace(url=f"{url}api-version={version}{rest}") if parameter else request


def run_pipeline(request: RunRequest, pipeline_id: int | str, orchestration_id: str | None = None) -> HttpRequest:
    """Return ``POST _apis/pipelines/{id}/runs``, which queues a run.

    :param pipeline_id: a string if the request is only shown, and the ID is not known.
    :param orchestration_id: a GUID. If the service uses it, it queues no second run with the same one. That the service
        takes the run's orchestration ID from this header is known from Microsoft's .NET client and the code of Azure
        DevOps Server 2022 only; see "An idempotency key" in docs/how-it-works.md.
    """
    asked = _ask_for_run(request, f"pipelines/{pipeline_id}/runs", _run_body(request))
    if orchestration_id is None:
        return asked
    return asked._replace(extra_headers={**asked.extra_headers, ORCHESTRATION_HEADER: orchestration_id})


def preview_run(request: RunRequest, pipeline_id: int) -> HttpRequest:
    """Return ``POST _apis/pipelines/{id}/preview``, which checks the same request without queuing a run.

    The URL already asks for a preview; ``previewRun`` repeats that in the body.
    """
    return _ask_for_run(request, f"pipelines/{pipeline_id}/preview", {**_run_body(request), "previewRun": True})


def list_pipelines(request: RunRequest, continuation_token: str | None) -> HttpRequest:
    """Return ``GET _apis/pipelines`` for one page."""
    return azure_devops_request("GET", _url(request, "pipelines", _page(continuation_token)))


def list_builds(
    request: RunRequest, pipeline_id: int, since: datetime, until: datetime, continuation_token: str | None
) -> HttpRequest:
    """Return ``GET _apis/build/builds`` for one page of the pipeline's runs that were queued in a period, oldest first.

    ``minTime`` and ``maxTime`` apply to the time that ``queryOrder`` names. Without the order, they would apply to the
    finish time, and exclude all runs that have not finished.
    """
    query: dict[str, object] = {
        "definitions": pipeline_id,
        "minTime": _time(since),
        "maxTime": _time(until),
        "queryOrder": "queueTimeAscending",
        **_page(continuation_token),
    }
    if request.ref_name is not None:
        query["branchName"] = request.ref_name
    return azure_devops_request("GET", _url(request, "build/builds", query))


def ask_for_build(request: RunRequest, run_id: int) -> HttpRequest:
    """Return ``GET _apis/build/builds/{id}``, one run as the list shows it."""
    return azure_devops_request("GET", _url(request, f"build/builds/{run_id}"))


def ask_for_timeline(request: RunRequest, run_id: int) -> HttpRequest:
    """Return ``GET _apis/build/builds/{id}/timeline``, which names the run's stages and their results."""
    return azure_devops_request("GET", _url(request, f"build/builds/{run_id}/timeline"))


def cancel_build(request: RunRequest, run_id: int) -> HttpRequest:
    """Return ``PATCH _apis/build/builds/{id}``, which asks to cancel a run."""
    return azure_devops_request("PATCH", _url(request, f"build/builds/{run_id}"), b'{"status":"cancelling"}')


def add_tags(request: RunRequest, run_id: int, tags: Sequence[str]) -> HttpRequest:
    """Return ``POST _apis/build/builds/{id}/tags``, which adds tags to a run."""
    return azure_devops_request("POST", _url(request, f"build/builds/{run_id}/tags"), json.dumps(list(tags)).encode())


def read_run(document: Any) -> Run:
    """Read the answer to ``run_pipeline``.

    :raises AnswerLost: the answer contains no run ID, although the status is a success.
    """
    try:
        return Run(read_id(document), web_url(document))
    except (TypeError, KeyError, AttributeError, ValueError) as exc:
        raise AnswerLost("HTTP 200, but the answer contains no run ID") from exc


def read_preview(document: Any) -> str:
    """Read the answer to ``preview_run``: the YAML that would run, with templates and parameters filled in.

    :raises AnswerLost: the answer contains no YAML.
    """
    if not isinstance(document, dict) or not isinstance(document.get("finalYaml"), str):
        raise AnswerLost("HTTP 200, but the answer contains no final YAML")
    return str(document["finalYaml"])


def read_pipelines(document: Any) -> dict[str, int]:
    """Read a page of ``list_pipelines``. Maps ``\\folder\\name`` in lower case to the ID.

    :raises AnswerLost: the answer is not a list of pipelines.
    """
    try:
        return {
            (pipeline["folder"].rstrip("\\") + "\\" + pipeline["name"]).lower(): read_id(pipeline)
            for pipeline in document["value"]
        }
    except (TypeError, KeyError, AttributeError, ValueError) as exc:
        raise AnswerLost("the answer is not a list of pipelines") from exc


def read_identity(document: Any) -> str:
    """Read the answer to ``ask_for_identity``: the identity's ID, in lower case.

    :raises AnswerLost: the answer names no identity.
    """
    try:
        return str(document["authenticatedUser"]["id"]).lower()
    except (TypeError, KeyError) as exc:
        raise AnswerLost("the answer names no identity") from exc


def read_skipped_stages(document: Any) -> frozenset[str] | None:
    """Read the answer to ``ask_for_timeline``: the stages that were skipped, in lower case.

    Return None if the timeline shows no stages (yet).
    """
    records = document.get("records") if isinstance(document, dict) else None
    stages = [one for one in records or () if isinstance(one, dict) and one.get("type") == "Stage"]
    if not stages:
        return None
    skipped = [one.get("identifier") or one.get("name") for one in stages if one.get("result") == "skipped"]
    return frozenset(str(name).lower() for name in skipped)


def _ask_for_run(request: RunRequest, path: str, body: Mapping[str, Any]) -> HttpRequest:
    query = {} if request.pipeline_version is None else {"pipelineVersion": request.pipeline_version}
    return azure_devops_request("POST", _url(request, path, query), json.dumps(body).encode())


def _run_body(request: RunRequest) -> dict[str, Any]:
    body: dict[str, Any] = {}
    if request.ref_name is not None:
        body["resources"] = {"repositories": {"self": {"refName": request.ref_name}}}
    if request.parameters:
        body["templateParameters"] = dict(request.parameters)
    if request.variables:
        body["variables"] = {name: {"value": value} for name, value in request.variables.items()}
    if request.stages_to_skip:
        body["stagesToSkip"] = list(request.stages_to_skip)
    return body


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _page(continuation_token: str | None) -> dict[str, object]:
    query: dict[str, object] = {"$top": PAGE_SIZE}
    return query if continuation_token is None else query | {"continuationToken": continuation_token}


def _url(request: RunRequest, path: str, query: Mapping[str, object] | None = None) -> str:
    parameters = urlencode({**(query or {}), "api-version": API_VERSION}, safe="$")
    return f"{request.organization_url}/{quote(request.project, safe='')}/_apis/{path}?{parameters}"


def read_id(document: Mapping[str, Any]) -> int:
    """Return the ID of a run, build or pipeline.

    :raises ValueError: it is not a positive integer of 64 bits.
    """
    value = document["id"]
    if type(value) is not int or not 0 < value <= MAX_ID:
        raise ValueError(f"not an ID: {value!r:.40}")
    return value


def web_url(document: Mapping[str, Any]) -> str:
    links = document.get("_links")
    web = links.get("web") if isinstance(links, dict) else None
    href = web.get("href") if isinstance(web, dict) else None
    return str(href or document.get("url") or "")
