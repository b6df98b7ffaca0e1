"""The client for Azure DevOps Pipelines: finds pipelines; previews, queues, lists, tags and cancels runs."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from shared.azure_devops import runs as protocol
from shared.azure_devops.runs import Run, RunRequest
from shared.clock import Clock, utc_now
from shared.credentials import Credential
from shared.errors import AnswerLost, CredentialRejected, CredentialUnavailable, RequestNotSent, RequestRefused
from shared.http.message import HttpRequest, read_document
from shared.http.sending import Sender
from shared.http.throttle import ThrottleGate
from shared.suggestion import suggestion

if TYPE_CHECKING:
    from shared.azure_devops.reconcile import Build
    from shared.http.transport import Transport  # imports ``requests``, which is slow


class PipelinesClient:
    """A client for Azure DevOps. Every call ends before its deadline. Safe for many threads."""

    def __init__(
        self,
        credential: Credential,
        transport: "Transport",
        *,
        api_version: str = protocol.API_VERSION,
        clock: Clock = utc_now,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Create a client. Sends no request.

        :param api_version: the version of the REST API. Azure DevOps Server 2022 supports 7.0, and 2020 supports 6.0.
        """
        self._credential = credential
        self._api_version = api_version
        self._sender = Sender(transport, ThrottleGate(clock), clock=clock, sleep=sleep)
        self._pipeline_ids: dict[tuple[str, str, str], int] = {}
        self._requesters: dict[tuple[str, str], str] = {}

    def run(self, request: RunRequest, deadline: datetime, orchestration_id: str) -> Run:
        """Queue one run.

        :param orchestration_id: a GUID, always the same one for the run that is wanted.
        :raises AzureDevOpsError: one class for each kind of answer. After AnswerLost, a run may have been queued; after
            all others, none was.
        """
        pipeline_id = self.pipeline_id(request, deadline)
        try:
            return self._run(request, pipeline_id, deadline, orchestration_id)
        except RequestRefused as refusal:
            if not refusal.not_found or isinstance(request.pipeline, int):
                raise
            # The pipeline may have been deleted and created again with the same name since it was looked up.
            self._pipeline_ids.pop(_cache_key(request, request.pipeline), None)
            current_id = self.pipeline_id(request, deadline)
            if current_id == pipeline_id:
                raise
            return self._run(request, current_id, deadline, orchestration_id)

    def preview(self, request: RunRequest, deadline: datetime) -> str:
        """Have Azure DevOps check a run without queuing it, and return the YAML that would run.

        :raises RequestRefused: the run would be refused; the message quotes the server.
        :raises AzureDevOpsError: there is no usable answer. It is never AnswerLost, because a preview queues nothing.
        """
        pipeline_id = self.pipeline_id(request, deadline)
        with _nothing_queued():
            document, _ = self._call(request, protocol.preview_run(request, pipeline_id), deadline)
            return protocol.read_preview(document)

    def builds(
        self, request: RunRequest, since: datetime, until: datetime, deadline: datetime
    ) -> Iterator[Sequence["Build"]]:
        """Yield, page by page, the runs of the request's pipeline that were queued in a period, oldest first.

        The times are of this process's clock; the difference to the server's is added.

        :raises AzureDevOpsError: the search failed. Never AnswerLost, because a search queues nothing.
        """
        pipeline_id = self.pipeline_id(request, deadline)
        self.requester(request, deadline)  # its answer shows the server's clock, if no other one has
        offset = self.clock_offset(request)
        with _nothing_queued():
            ask = partial(protocol.list_builds, request, pipeline_id, since + offset, until + offset)
            for page in self._pages(request, ask, deadline):
                yield _read_builds(page, offset)

    def build(self, request: RunRequest, run_id: int, deadline: datetime) -> "Build | None":
        """Return one run of the request's project, or None if there is none with this ID.

        :raises AzureDevOpsError: the answer is not usable; never AnswerLost.
        """
        answer = self._ask(request, protocol.ask_for_build(request, run_id), deadline)
        found = _read_builds({"value": [answer]}, self.clock_offset(request))
        return found[0] if found else None

    def skipped_stages(self, request: RunRequest, run_id: int, deadline: datetime) -> frozenset[str] | None:
        """Return the stages that a run skipped, in lower case; None if its timeline does not show its stages.

        :raises AzureDevOpsError: the answer is not usable; never AnswerLost.
        """
        return protocol.read_skipped_stages(self._ask(request, protocol.ask_for_timeline(request, run_id), deadline))

    def adds_nothing(self, request: RunRequest, parameters: Mapping[str, str], deadline: datetime) -> bool:
        """Return whether a run is the same with these additional template parameters: they are the defaults.

        :raises AzureDevOpsError: Azure DevOps does not show the run; never AnswerLost.
        """
        extended = request._replace(parameters={**request.parameters, **parameters})
        return self.preview(request, deadline) == self.preview(extended, deadline)

    def requester(self, request: RunRequest, deadline: datetime) -> str | None:
        """Return the ID, in lower case, of the identity that sends the request. Asked once per credential.

        None if the server does not say.

        :raises AzureDevOpsError: the answer is not usable; never AnswerLost.
        """
        key = (request.organization_url, self.sender())
        if key not in self._requesters:
            with _nothing_queued():
                try:
                    document, _ = self._call(request, protocol.ask_for_identity(request), deadline)
                except RequestRefused:
                    return None
                self._requesters[key] = protocol.read_identity(document)
        return self._requesters[key]

    def admit(self, organization_url: str, *, later: bool = False) -> float:
        """Return 0 if work for an organization may begin now, else the seconds after which to ask again.

        Sends no request. Without a credential, it returns 0: the error that follows says what is wrong.

        :param later: the work has just been tried, so it never begins now.
        """
        try:
            return self._sender.admit(organization_url, self._credential.authorization(), later=later)
        except CredentialUnavailable:
            return 0.0

    def sender(self) -> str:
        """Return a fingerprint of the credential that is sent now, or an empty string if there is none."""
        try:
            return self._credential.fingerprint()
        except CredentialUnavailable:
            return ""

    def clock_offset(self, request: RunRequest) -> timedelta:
        """Return by how much the clock of the request's organization is ahead of this process's; 0 if unknown."""
        return self._sender.clock_offset(request.organization_url)

    def cancel(self, request: RunRequest, run: Run, deadline: datetime) -> None:
        """Ask Azure DevOps to cancel a run.

        :raises AzureDevOpsError: the request failed.
        """
        self._call(request, protocol.cancel_build(request, run.id), deadline)

    def tag(self, request: RunRequest, run: Run, tags: Sequence[str], deadline: datetime) -> None:
        """Tag a run.

        :raises AzureDevOpsError: the request failed. After AnswerLost, the run may have been tagged.
        """
        self._call(request, protocol.add_tags(request, run.id, tags), deadline)

    def pipeline_id(self, request: RunRequest, deadline: datetime) -> int:
        """Return the ID of the request's pipeline. A name is looked up once per process.

        :raises RequestRefused: no pipeline has this name, or several have it.
        :raises AzureDevOpsError: the list cannot be read; never AnswerLost.
        """
        if isinstance(request.pipeline, int):
            return request.pipeline
        key = _cache_key(request, request.pipeline)
        if key not in self._pipeline_ids:
            self._pipeline_ids[key] = choose_pipeline(request, request.pipeline, self.list_pipelines(request, deadline))
        return self._pipeline_ids[key]

    def list_pipelines(self, request: RunRequest, deadline: datetime) -> dict[str, int]:
        """Return the IDs of all pipelines in the request's project that the app may see, by ``\\folder\\name``.

        The names are in lower case.

        :raises AzureDevOpsError: the list cannot be read; never AnswerLost.
        """
        pipelines: dict[str, int] = {}
        with _nothing_queued():
            for page in self._pages(request, partial(protocol.list_pipelines, request), deadline):
                pipelines |= protocol.read_pipelines(page)
        return pipelines

    def _run(self, request: RunRequest, pipeline_id: int, deadline: datetime, orchestration_id: str) -> Run:
        document, _ = self._call(request, protocol.run_pipeline(request, pipeline_id, orchestration_id), deadline)
        return protocol.read_run(document)

    def _pages(
        self, request: RunRequest, ask: Callable[[str | None], HttpRequest], deadline: datetime
    ) -> Iterator[Any]:
        """Yield the document of each page of a list."""
        token: str | None = None
        while True:
            document, headers = self._call(request, ask(token), deadline)
            yield document
            token = headers.get(protocol.CONTINUATION_HEADER)
            if not token:
                return

    def _ask(self, request: RunRequest, http_request: HttpRequest, deadline: datetime) -> Any:
        """Return the JSON document of the answer, or None if there is nothing at the address."""
        with _nothing_queued():
            try:
                document, _ = self._call(request, http_request, deadline)
            except RequestRefused as exc:
                if exc.not_found:
                    return None
                raise
        return document

    def _call(
        self, request: RunRequest, http_request: HttpRequest, deadline: datetime
    ) -> tuple[Any, Mapping[str, str]]:
        """Send a request, and return the JSON document and the headers of the answer.

        If the credential is rejected, nothing was queued; the request is sent once more if there is a new credential.
        """
        http_request = protocol.with_api_version(http_request, self._api_version)
        authorization = self._credential.authorization()
        response = self._sender.send(request.organization_url, http_request, authorization, deadline)
        try:
            return read_document(response), response.headers
        except CredentialRejected:
            self._credential.reject(authorization)
            renewed = self._credential.authorization()
            if renewed == authorization:
                raise
        response = self._sender.send(request.organization_url, http_request, renewed, deadline)
        return read_document(response), response.headers


@contextmanager
def _nothing_queued() -> Iterator[None]:
    """Translate AnswerLost to RequestNotSent for requests that do not queue a run."""
    try:
        yield
    except AnswerLost as exc:
        raise RequestNotSent(f"{exc} (during a lookup, so no run was queued)") from exc


def _read_builds(document: Any, offset: timedelta) -> "list[Build]":
    """Read a page of builds.

    :param offset: by how much the server's clock is ahead of this process's.
    """
    from shared.azure_devops.reconcile import read_builds  # only a search for a lost run needs it

    return [build.moved(-offset) for build in read_builds(document)]


def _cache_key(request: RunRequest, pipeline: str) -> tuple[str, str, str]:
    return (request.organization_url, request.project, pipeline.lower())


def choose_pipeline(request: RunRequest, name: str, pipelines: Mapping[str, int]) -> int:
    """Return the ID of a pipeline by ``\\folder\\name``, or by the name alone if only one pipeline has it.

    :param pipelines: the result of ``PipelinesClient.list_pipelines``.
    :raises RequestRefused: no pipeline has this name, or several have it.
    """
    wanted = name.lower()
    if wanted.startswith("\\"):
        found = [path for path in pipelines if path == wanted]
    else:
        found = [path for path in pipelines if path.rpartition("\\")[2] == wanted]
    if len(found) == 1:
        return pipelines[found[0]]
    where = f"in project {request.project} of {request.organization_url}"
    if found:
        raise RequestRefused(
            f"several pipelines {where} are named '{name}': {', '.join(found)}; write the name with its folder"
        )
    names = [path if wanted.startswith("\\") else path.rpartition("\\")[2] for path in pipelines]
    raise RequestRefused(f"no pipeline {where} is named '{name}'; {suggestion(name, names)}", not_found=True)
