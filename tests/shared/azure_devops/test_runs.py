"""The requests and answers of Azure DevOps as plain data, including the whole error table."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.azure_devops.reconcile import read_builds
from shared.azure_devops.runs import (
    Run,
    RunRequest,
    cancel_build,
    list_builds,
    list_pipelines,
    preview_run,
    read_identity,
    read_pipelines,
    read_preview,
    read_run,
    read_skipped_stages,
    run_pipeline,
)
from shared.errors import (
    AnswerLost,
    AzureDevOpsError,
    CredentialRejected,
    PermissionDenied,
    RequestRefused,
    RunExists,
    Throttled,
    VersionNotSupported,
)
from shared.http.message import DEFAULT_PAUSE_SECONDS, HttpResponse, pause_seconds, read_document
from tests.contracts import validate

ORG = "https://dev.azure.com/contoso"
FULL = RunRequest(
    organization_url=ORG,
    project="ML Ops",
    pipeline="p",
    branch="main",
    parameters={"runId": "r"},
    variables={"V": "x"},
    stages_to_skip=("slow",),
    pipeline_version=3,
    correlation_parameter="runId",
)
UNCORRELATED = FULL._replace(correlation_parameter=None)
PLAIN = RunRequest(ORG, "mlops", 7)
HTML = b"<!DOCTYPE html><html>Sign in</html>"
TITLED = (
    b"<!DOCTYPE html>\n<html><head><Title lang=en>\n Contoso &amp; co |\n Sign In</title></head><body>x</body></html>"
)
ENTRA = "https://login.microsoftonline.com/common/oauth2/authorize?client_id=x"


def response(status: int, body: object = None, **headers: str) -> HttpResponse:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return HttpResponse(status, {name.replace("_", "-"): value for name, value in headers.items()}, content)


def refusal(message: str) -> dict[str, Any]:
    return {"$id": "1", "message": message, "typeKey": "SomeException"}


def wrapped(type_key: str) -> dict[str, Any]:
    return refusal("said") | {"typeKey": type_key}


class TestRequests:
    def test_a_run_request_with_all_fields(self) -> None:
        request = run_pipeline(FULL, 12)
        url = f"{ORG}/ML%20Ops/_apis/pipelines/12/runs?pipelineVersion=3&api-version=7.1"
        assert (request.method, request.url) == ("POST", url)
        body = json.loads(request.body or b"")
        validate("ado_run_request", body)
        assert body == {
            "resources": {"repositories": {"self": {"refName": "refs/heads/main"}}},
            "templateParameters": {"runId": "r"},
            "variables": {"V": {"value": "x"}},
            "stagesToSkip": ["slow"],
        }

    def test_a_minimal_run_request(self) -> None:
        request = run_pipeline(PLAIN, 7)
        assert request.headers("Basic x")["X-TFS-FedAuthRedirect"] == "Suppress"
        assert (request.url, request.body) == (f"{ORG}/mlops/_apis/pipelines/7/runs?api-version=7.1", b"{}")

    def test_a_preview_is_the_same_request_at_another_url(self) -> None:
        run, preview = run_pipeline(FULL, 12), preview_run(FULL, 12)
        assert (preview.method, preview.url) == ("POST", run.url.replace("/runs?", "/preview?"))
        body = json.loads(preview.body or b"")
        validate("ado_run_request", body)
        assert body == {**json.loads(run.body or b""), "previewRun": True}

    @pytest.mark.parametrize(
        ("branch", "ref"),
        [(None, None), ("main", "refs/heads/main"), ("a/b", "refs/heads/a/b"), ("refs/tags/v", "refs/tags/v")],
    )
    def test_branches(self, branch: str | None, ref: str | None) -> None:
        assert RunRequest(ORG, "p", 1, branch).ref_name == ref

    def test_list_pipelines(self) -> None:
        assert list_pipelines(PLAIN, None).url == f"{ORG}/mlops/_apis/pipelines?$top=1000&api-version=7.1"
        assert "continuationToken=a%2Fb" in list_pipelines(PLAIN, "a/b").url

    def test_list_builds_filters_by_queue_time(self) -> None:
        since = datetime(2026, 11, 20, 12, 0, 0, 5, UTC)
        url = list_builds(FULL, 12, since, since + timedelta(seconds=90), None).url
        assert "definitions=12&minTime=2026-11-20T12%3A00%3A00.000005Z&maxTime=2026-11-20T12%3A01%3A30.000005Z" in url
        assert "queryOrder=queueTimeAscending" in url
        assert "branchName=refs%2Fheads%2Fmain" in url
        assert "branchName" not in list_builds(PLAIN, 7, since, since, "t").url

    def test_cancel(self) -> None:
        request = cancel_build(PLAIN, 99)
        assert (request.method, request.body) == ("PATCH", b'{"status":"cancelling"}')
        assert request.url == f"{ORG}/mlops/_apis/build/builds/99?api-version=7.1"

    @pytest.mark.parametrize("request_", [FULL, PLAIN])
    def test_a_request_is_read_back_unchanged_from_json(self, request_: RunRequest) -> None:
        assert RunRequest.from_json(request_.to_json()) == request_
        assert RunRequest.from_json(request_.to_json()[:-1] + ',"invented_later":1}') == request_

    @pytest.mark.parametrize("text", ["", "null", "5", "[]", "{}", "[" * 100_000, FULL.to_json()[:-9]])
    def test_what_is_not_a_request_is_not_read(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"not the request of a run|Expecting|Unterminated"):
            RunRequest.from_json(text)

    @pytest.mark.parametrize(
        "change",
        [{"project": 5}, {"branch": 5}, {"parameters": None}, {"variables": {"a": 5}}, {"stages_to_skip": [5]}],
        ids=str,
    )
    def test_an_altered_request_is_not_read(self, change: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match="not the request of a run"):
            RunRequest.from_json(json.dumps({**json.loads(FULL.to_json()), **change}))


class TestDecipher:
    @pytest.mark.parametrize(
        ("answer", "error", "words"),
        [
            (response(203, HTML), CredentialRejected, "HTTP 203 asks to sign in"),
            (response(203, {"id": 1}), CredentialRejected, "HTTP 203"),
            (response(203, TITLED), CredentialRejected, "HTTP 203 asks to sign in: Contoso & co | Sign In; the PAT"),
            *(
                (response(status, b"", location=location), CredentialRejected, f"HTTP {status} asks to sign in")
                for status in (301, 302, 303, 307)
                for location in ("https://app.vssps.visualstudio.com/_signin?realm=x", "/_SignIn", ENTRA)
            ),
            *(
                (response(302, b"", location=location), AnswerLost, f"HTTP 302 redirects to {shown}; check AZURE_DEV")
                for location, shown in (
                    ("https://proxy.example/blocked?url=_signin", "https://proxy.example/blocked"),
                    ("http://[bad", "http://[bad"),
                    ("", "nowhere"),
                )
            ),
            (response(301, b""), AnswerLost, "HTTP 301 redirects to nowhere"),
            (response(401, refusal("TF400813: x is not")), CredentialRejected, "sign in: TF400813: x is not; docs/az"),
            (
                response(401, b"VS403463: no", content_type="text/html"),
                CredentialRejected,
                "sign in: VS403463: no; docs/",
            ),
            (response(401, b""), CredentialRejected, "HTTP 401 asks to sign in: no message; the PAT or token is wrong"),
            (response(200, HTML), AnswerLost, "HTTP 200 with a page instead of JSON: no message"),
            (response(200, b"  <HTML>"), AnswerLost, "HTTP 200 with a page"),
            (response(200, b"x", content_type="text/html; charset=utf-8"), AnswerLost, "HTTP 200 with a page"),
            (response(404, TITLED), RequestRefused, "HTTP 404: Contoso & co | Sign In"),
            (response(404, b"The controller was not found"), RequestRefused, "HTTP 404: The controller was not found"),
            (response(400, {"Message": "No\x1b[2J such\u202e"}), RequestRefused, "HTTP 400: No [2J such"),
            (response(400, {"count": 1, "value": {"Message": "invalid"}}), RequestRefused, "HTTP 400: invalid"),
            (response(403, refusal("TF215106: needs Queue builds")), PermissionDenied, "TF215106: needs Queue builds"),
            (response(400, refusal("Unexpected parameter 'x'")), RequestRefused, "HTTP 400: Unexpected parameter 'x'"),
            (response(404, refusal("not there")), RequestRefused, "HTTP 404: not there"),
            (response(409, refusal("conflict")), RequestRefused, "HTTP 409: conflict"),
            (response(405, b"nonsense"), RequestRefused, "HTTP 405: nonsense"),
            (response(429, refusal("slow down")), Throttled, "HTTP 429, throttled for 30 s: slow down"),
            (response(429, b"", retry_after="7"), Throttled, "throttled for 7 s"),
            (response(429, wrapped("AccessDeniedException")), Throttled, "HTTP 429, throttled for 30 s: said"),
            (response(503, b"", retry_after="7"), AnswerLost, "HTTP 503: no message"),
            (response(503, b"", x_ratelimit_delay="2.5"), AnswerLost, "HTTP 503: no message"),
            (response(503, refusal("down")), AnswerLost, "HTTP 503: down"),
            (response(500, refusal("oops")), AnswerLost, "HTTP 500: oops"),
            (response(502, TITLED), AnswerLost, "HTTP 502 with a page instead of JSON: Contoso & co | Sign In"),
            (response(504, b""), AnswerLost, "HTTP 504: no message"),
            (response(408, b""), AnswerLost, "HTTP 408"),
            (response(100, b""), AnswerLost, "HTTP 100"),
            (response(200, b"{ garbage"), AnswerLost, "not JSON: { garbage"),
            (response(200, b"[" * 100_000), AnswerLost, "not JSON"),
            (response(204, b""), AnswerLost, "not JSON"),
        ],
    )
    def test_errors(self, answer: HttpResponse, error: type[AzureDevOpsError], words: str) -> None:
        with pytest.raises(AzureDevOpsError) as caught:
            read_document(answer)
        assert type(caught.value) is error
        assert words in str(caught.value)
        assert not isinstance(caught.value, RequestRefused) or caught.value.not_found is (answer.status == 404)

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 500, 503])
    @pytest.mark.parametrize(
        ("type_key", "error", "words"),
        [
            ("PipelineNotFoundException", RequestRefused, ""),
            ("DefinitionNotFoundException", RequestRefused, ""),
            ("RunNotFoundException", RequestRefused, ""),
            ("PipelineValidationException", RequestRefused, ""),
            ("DefinitionDisabledException", RequestRefused, ""),
            ("AccessDeniedException", PermissionDenied, "; grant the app's identity this permission"),
            ("VssVersionOutOfRangeException", VersionNotSupported, "; set AZURE_DEVOPS_API_VERSION to a version that"),
            ("VssInvalidPreviewVersionException", VersionNotSupported, "; set AZURE_DEVOPS_API_VERSION"),
            ("RunOrchestrationExistsException", RunExists, "; an earlier request has queued the run"),
        ],
    )
    def test_a_wrapped_error_is_judged_by_its_type(
        self, status: int, type_key: str, error: type[AzureDevOpsError], words: str
    ) -> None:
        with pytest.raises(AzureDevOpsError) as caught:
            read_document(response(status, wrapped(type_key)))
        assert type(caught.value) is error
        assert f"HTTP {status}: said{words}" in str(caught.value)
        assert getattr(caught.value, "not_found", False) is type_key.endswith("NotFoundException")

    @pytest.mark.parametrize("status", [200, 201, 202])
    def test_documents(self, status: int) -> None:
        assert read_document(response(status, {"id": 5})) == {"id": 5}

    def test_the_servers_message_is_shortened_to_one_line(self) -> None:
        with pytest.raises(RequestRefused, match=r"\A.{1,600}\Z"):
            read_document(response(400, refusal("a\nb\r\n" + "x" * 5000)))

    def test_advice_follows_the_servers_message_without_its_period(self) -> None:
        for status, error in [(401, CredentialRejected), (403, PermissionDenied)]:
            with pytest.raises(error, match=f"HTTP {status}.*: No, never; "):
                read_document(response(status, refusal("No, never. \n")))

    @given(st.integers(100, 599), st.binary(), st.dictionaries(st.sampled_from(["retry-after", "date"]), st.text()))
    def test_any_answer_is_a_document_or_one_of_our_errors(
        self, status: int, body: bytes, headers: dict[str, str]
    ) -> None:
        try:
            document = read_document(HttpResponse(status, headers, body))
        except AzureDevOpsError:
            return
        assert 200 <= status < 300
        assert repr(document) == repr(json.loads(body))  # NaN is not equal to itself


NOON = "Fri, 20 Nov 2026 12:00:00 GMT"


class TestPause:
    @pytest.mark.parametrize(
        ("headers", "seconds"),
        [
            ({}, None),
            ({"retry_after": "12"}, 12),
            ({"x_ratelimit_delay": "12.5"}, None),
            ({"retry_after": "3", "x_ratelimit_delay": "8"}, 3),
            ({"retry_after": "0"}, None),
            ({"retry_after": "-3"}, None),
            ({"retry_after": "99999999"}, 3600),
            ({"retry_after": "nan"}, 30),
            ({"retry_after": "1e999"}, 30),
            ({"retry_after": "9" * 5000}, 30),
            ({"retry_after": "Mon, 01 Jan 2024 00:00:00 +99999999999999999", "date": NOON}, 30),
            ({"retry_after": "Mon, 01 Jan 99999999999999999999 00:00:00 GMT", "date": NOON}, 30),
            ({"retry_after": "Fri, 20 Nov 2026 12:00:40 GMT", "date": NOON}, 40),
            ({"retry_after": "Fri, 20 Nov 2026 12:00:40 GMT"}, 30),
            ({"retry_after": "sometime"}, 30),
        ],
    )
    def test_headers(self, headers: dict[str, str], seconds: float | None) -> None:
        assert pause_seconds(response(200, {}, **headers)) == seconds
        assert pause_seconds(response(429, {}, **headers)) == (seconds or DEFAULT_PAUSE_SECONDS)


BARE: list[object] = [None, [], {}]
NO_IDS: list[object] = [10**22, 2**63, 0, -1, None, [1], True, "7", 1.5]
API = {"id": 5, "url": "https://api"}


def pipelines(number: object) -> dict[str, object]:
    return {"value": [{"id": number, "name": "A", "folder": "\\"}]}


def builds(number: object) -> dict[str, object]:
    return {"value": [{"id": number, "parameters": '{"V": "x"}'}]}


class TestAnswers:
    @pytest.mark.parametrize("links", [None, [], {}, {"web": None}, {"web": {"href": None}}])
    def test_the_web_page_of_a_run_is_preferred(self, links: object) -> None:
        assert read_run(API | {"_links": {"web": {"href": "https://page"}}}) == Run(5, "https://page")
        assert read_run(API | {"_links": links}) == Run(5, "https://api")

    @pytest.mark.parametrize("number", [1, 2**63 - 1])
    def test_an_id_is_a_positive_integer_of_64_bits(self, number: int) -> None:
        assert read_run({"id": number}).id == number
        assert [build.run.id for build in read_builds(builds(number))] == [number]

    @pytest.mark.parametrize("build", [1, {"id": 1, "parameters": "{"}, *({"id": number} for number in NO_IDS)])
    def test_a_build_that_cannot_be_read_is_left_out(self, build: object) -> None:
        (read,) = read_builds({"value": [build, {"id": 7}]})
        assert read.run.id == 7

    def test_the_identity_of_the_connection(self) -> None:
        assert read_identity({"authenticatedUser": {"id": "1A"}}) == "1a"
        documents: list[object] = [{}, {"authenticatedUser": None}, []]
        for document in documents:
            with pytest.raises(AnswerLost, match="names no identity"):
                read_identity(document)

    def test_skipped_stages(self) -> None:
        records = [
            {"type": "Stage", "identifier": "Deploy", "name": "Deploy it", "result": "skipped"},
            {"type": "Stage", "name": "Notify", "result": "skipped"},
            {"type": "Stage", "identifier": "Build", "result": "succeeded"},
            {"type": "Job", "identifier": "x", "result": "skipped"},
        ]
        assert read_skipped_stages({"records": records}) == frozenset({"deploy", "notify"})
        assert [read_skipped_stages(none) for none in ({}, None, {"records": records[3:]})] == [None] * 3

    def test_final_yaml(self) -> None:
        document = {"finalYaml": "stages: []\n"}
        validate("ado_preview", document)
        assert read_preview(document) == "stages: []\n"

    def test_pipelines_by_their_paths_in_lower_case(self) -> None:
        value = [{"id": 1, "name": "A", "folder": "\\"}, {"id": 2, "name": "B", "folder": "\\Ml\\x"}]
        assert read_pipelines({"value": value}) == {"\\a": 1, "\\ml\\x\\b": 2}

    @pytest.mark.parametrize(
        ("read", "documents"),
        [
            (read_run, [*BARE, "x", *({"id": value} for value in NO_IDS)]),
            (read_preview, [*BARE, {"finalYaml": None}, {"id": 7}]),
            (read_pipelines, [*BARE, {"value": [1]}, {"value": [{"id": 1}]}, {"value": None}, *map(pipelines, NO_IDS)]),
            (read_builds, [*BARE, {"value": None}]),
        ],
        ids=["run", "preview", "pipelines", "builds"],
    )
    def test_an_unexpected_document_is_a_lost_answer(
        self, read: Callable[[object], object], documents: list[object]
    ) -> None:
        for document in documents:
            with pytest.raises(AnswerLost):
                read(document)
