"""The Azure DevOps Pipelines REST API as plain data: builds requests and reads answers. No I/O.

Source of the shapes: Azure DevOps REST API 7.1, Pipelines - Runs and Build - Builds.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, Self
from urllib.parse import quote, urlencode

from shared.errors import AnswerLost
from shared.http.message import HttpRequest, parse_number

API_VERSION: Final = "7.1"
PAGE_SIZE = 1000
CONTINUATION_HEADER: Final = "x-ms-continuationtoken"
# Answer a bad credential with a status instead of a redirect to the sign-in page.
_HEADERS: Final = {"X-TFS-FedAuthRedirect": "Suppress"}
_COMPACT: Final = json.JSONEncoder(separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class RunRequest:
    """One run to queue.

    :param organization_url: ``https://dev.azure.com/contoso``, or a collection of Azure DevOps Server; no final slash.
    :param pipeline: definition id, or name, or ``\\folder\\name``.
    :param branch: short or full name; None for the pipeline's default branch.
    :param correlation_parameter: the one of ``parameters`` whose value no other run has, so that it alone tells the
        request's run from all others.
    """

    organization_url: str
    project: str
    pipeline: int | str
    branch: str | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    stages_to_skip: tuple[str, ...] = ()
    pipeline_version: int | None = None
    correlation_parameter: str | None = None

    @property
    def ref_name(self) -> str | None:
        """The branch as Azure DevOps names it: ``refs/heads/main``."""
        if self.branch is None or self.branch.startswith("refs/"):
            return self.branch
        return f"refs/heads/{self.branch}"

    def to_json(self) -> str:
        """The request as the journal keeps it."""
        return _COMPACT.encode({name: getattr(self, name) for name in self.__slots__})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what ``to_json`` wrote."""
        fields = json.loads(text)
        return cls(**fields | {"stages_to_skip": tuple(fields["stages_to_skip"])})


class Run(NamedTuple):
    """A queued pipeline run: its id (which is the build id too) and the page a person can open.

    :param tags: as a search finds them; a run that was just queued has none.
    """

    id: int
    url: str
    tags: tuple[str, ...] = ()


def azure_devops_request(
    method: str, url: str, body: bytes | None = None, content_type: str = "application/json"
) -> HttpRequest:
    """A request with the headers that Azure DevOps alone is sent."""
    return HttpRequest(method, url, body, content_type, _HEADERS)


def run_pipeline(request: RunRequest, pipeline_id: int | str) -> HttpRequest:
    """``POST _apis/pipelines/{id}/runs``, which queues a run and has no idempotency key.

    :param pipeline_id: a text where the call is only shown and the id is not known.
    """
    return _ask_for_run(request, f"pipelines/{pipeline_id}/runs", _run_body(request))


def preview_run(request: RunRequest, pipeline_id: int) -> HttpRequest:
    """``POST _apis/pipelines/{id}/preview``: the same request, checked as a run is and never queued.

    ``previewRun`` says once more in the body what the address says already.
    """
    return _ask_for_run(request, f"pipelines/{pipeline_id}/preview", {**_run_body(request), "previewRun": True})


def list_pipelines(request: RunRequest, continuation_token: str | None) -> HttpRequest:
    """``GET _apis/pipelines``, a page at a time."""
    return azure_devops_request("GET", _url(request, "pipelines", _page(continuation_token)))


def list_builds(
    request: RunRequest, pipeline_id: int, since: datetime, until: datetime, continuation_token: str | None
) -> HttpRequest:
    """``GET _apis/build/builds``: what was queued for the pipeline within a time, oldest first, a page at a time.

    ``minTime`` and ``maxTime`` mean the time that ``queryOrder`` names: without the order they would mean the finish
    time, and leave out all that is still running.
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


def cancel_build(request: RunRequest, run_id: int) -> HttpRequest:
    """``PATCH _apis/build/builds/{id}``: ask for a run to be cancelled."""
    return azure_devops_request("PATCH", _url(request, f"build/builds/{run_id}"), b'{"status":"cancelling"}')


def add_tags(request: RunRequest, run_id: int, tags: Sequence[str]) -> HttpRequest:
    """``POST _apis/build/builds/{id}/tags``: add tags to a run."""
    return azure_devops_request("POST", _url(request, f"build/builds/{run_id}/tags"), json.dumps(list(tags)).encode())


def read_run(document: Any) -> Run:
    """Read the answer to ``run_pipeline``.

    :raises AnswerLost: it names no run, though the status says that all went well.
    """
    if not isinstance(document, dict) or type(document.get("id")) is not int:
        raise AnswerLost("HTTP 200 with an answer that names no run")
    return Run(document["id"], _web_url(document))


def read_preview(document: Any) -> str:
    """Read the answer to ``preview_run``: the YAML that would run, templates and parameters filled in.

    :raises AnswerLost: there is none in it.
    """
    if not isinstance(document, dict) or not isinstance(document.get("finalYaml"), str):
        raise AnswerLost("HTTP 200 with an answer that holds no final YAML")
    return str(document["finalYaml"])


def read_pipelines(document: Any) -> dict[str, int]:
    """Read a page of ``list_pipelines``: from ``\\folder\\name`` in lower case to the id.

    :raises AnswerLost: the answer is not a list of pipelines.
    """
    try:
        return {
            (pipeline["folder"].rstrip("\\") + "\\" + pipeline["name"]).lower(): pipeline["id"]
            for pipeline in document["value"]
        }
    except (TypeError, KeyError, AttributeError) as exc:
        raise AnswerLost("the answer is not a list of pipelines") from exc


def read_matching_runs(document: Any, request: RunRequest) -> list[Run]:
    """Read ``list_builds``: the runs that carry just what the request asked for, in the server's order.

    A build may carry more than was sent, since Azure DevOps fills defaults in; all that was sent must be there.
    (The runs list of the Pipelines API would not do: its runs carry no parameters.)

    :raises AnswerLost: the answer is not a list of builds.
    """
    try:
        carriers = [build for build in document["value"] if _carries(build, request)]
        return [Run(build["id"], _web_url(build), tuple(build.get("tags") or ())) for build in carriers]
    except (TypeError, KeyError, AttributeError, ValueError) as exc:
        raise AnswerLost("the answer is not a list of builds") from exc


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


def _web_url(document: Mapping[str, Any]) -> str:
    links = document.get("_links")
    web = links.get("web") if isinstance(links, dict) else None
    href = web.get("href") if isinstance(web, dict) else None
    return str(href or document.get("url") or "")


def _carries(build: Mapping[str, Any], request: RunRequest) -> bool:
    correlation = request.correlation_parameter
    if correlation is not None:
        return _contains(build.get("templateParameters") or {}, {correlation: request.parameters[correlation]})
    variables = json.loads(build.get("parameters") or "{}")
    return (
        _contains(build.get("templateParameters") or {}, request.parameters)
        and _contains(variables, request.variables)
        and (request.ref_name is None or build.get("sourceBranch") == request.ref_name)
    )


def _contains(carried: Mapping[str, Any], sent: Mapping[str, str]) -> bool:
    """Names are compared without case, values by what they mean: Azure DevOps gives ``true`` back as ``True``."""
    by_name = {name.lower(): _meaning(value) for name, value in carried.items()}
    return all(by_name.get(name.lower()) == _meaning(value) for name, value in sent.items())


def _meaning(value: object) -> object:
    text = value if isinstance(value, str) else json.dumps(value)
    if text.lower() in {"true", "false"}:
        return text.lower()
    number = parse_number(text)
    return text if number is None else number
