"""The checks before a request is carried out: credential, address, method and api-version."""

from __future__ import annotations

import base64
import logging

import pytest

from tests.support.services.emulator import DECLARATION, PAT, PLAIN_RUN, PROJECT, RUNS, TOKEN, Ado, basic

BAD = "canary-pat-expired"
BUILDS = f"{PROJECT}/build/builds"


@pytest.fixture
def ado() -> Ado:
    return Ado()


@pytest.mark.parametrize(
    "headers",
    [
        basic(PAT),
        basic(PAT, user=""),
        {"Authorization": f"Bearer {TOKEN}"},
        {"Authorization": f"bearer {TOKEN}"},
        {"Authorization": basic(PAT)["Authorization"].replace("Basic", "BASIC")},
    ],
)
def test_good_credentials(ado: Ado, headers: dict[str, str]) -> None:
    assert ado.ask("POST", RUNS, PLAIN_RUN, headers=headers).status_code == 200


BAD_HEADERS = [
    {"Authorization": ""},
    basic(BAD),
    basic(TOKEN),
    {"Authorization": f"Bearer {PAT}"},
    {"Authorization": f"Basic {PAT}"},
    {"Authorization": "Basic " + base64.b64encode(PAT.encode()).decode()},
    {"Authorization": "Basic " + base64.b64encode(b"\xff:" + PAT.encode()).decode()},
    {"Authorization": f"Digest {PAT}"},
    {"Authorization": PAT},
]


@pytest.mark.parametrize("headers", BAD_HEADERS)
@pytest.mark.parametrize(("method", "path"), [("POST", RUNS), ("GET", BUILDS), ("OPTIONS", "/contoso/_apis")])
def test_a_bad_credential_is_offered_a_sign_in_page(ado: Ado, method: str, path: str, headers: dict[str, str]) -> None:
    answer = ado.ask(method, path, PLAIN_RUN, headers=headers)

    assert (answer.status_code, answer.content_type) == (203, "text/html; charset=utf-8")
    assert "Sign In" in answer.text
    assert ado.emulator.books.runs == ()


def test_without_suppress_the_answer_is_a_redirect_to_the_page(ado: Ado) -> None:
    answer = ado.ask("POST", RUNS, PLAIN_RUN, headers={**basic(BAD), "X-TFS-FedAuthRedirect": "no"})

    assert answer.status_code == 302
    location = answer.headers["Location"]
    assert location.startswith("http://localhost/_signin?reply_to=http%3A%2F%2Flocalhost%2Fcontoso%2F")
    page = ado.ask("GET", "/_signin", headers=basic(BAD))
    assert (page.status_code, page.mimetype) == (200, "text/html")


@pytest.mark.parametrize(
    ("method", "path"),
    [("PATCH", f"{BUILDS}/501"), ("PUT", f"{BUILDS}/501"), ("DELETE", f"{BUILDS}/501")],
)
def test_methods_that_browsers_do_not_send_get_a_401(ado: Ado, method: str, path: str) -> None:
    answer = ado.ask(method, path, {}, headers=basic(BAD))
    message = ado.refused(401, "UnauthorizedRequestException", method, path, {}, headers=basic(BAD))

    assert message == "TF400813: The user '' is not authorized to access this resource."
    assert answer.headers["WWW-Authenticate"] == 'Basic realm="http://localhost/"'


def test_secrets_are_in_no_answer_book_or_log(ado: Ado, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secret_run = {**PLAIN_RUN, "variables": {"apiKey": {"value": "canary-api-key", "isSecret": True}}}
    texts = [ado.ask("POST", RUNS, secret_run).text]
    texts += [ado.ask("POST", RUNS, PLAIN_RUN, headers=headers).text for headers in BAD_HEADERS]
    texts += [ado.ask("PATCH", f"{BUILDS}/501", {}, headers=headers).text for headers in BAD_HEADERS]
    texts += [ado.ask("GET", f"{BUILDS}/501").text, ado.ask("GET", f"{RUNS}/501").text]
    token = {"resources": {"repositories": {"tools": {"token": "canary-repository-token", "refName": "x"}}}}
    texts.append(ado.ask("POST", RUNS, token).text)
    texts.append(ado.ask("GET", "/_emulator/books").text)
    texts += [repr(ado.emulator.books.requests), repr(ado.emulator.books.runs), caplog.text]

    assert ado.emulator.books.runs[0].variables["apiKey"].is_secret
    assert len(ado.emulator.books.requests) == 4 + 2 * len(BAD_HEADERS)
    assert [text for text in texts if "canary" in text] == []


def test_project_names_and_paths_are_not_case_sensitive(ado: Ado) -> None:
    for path in ("contoso/mlops", "CONTOSO/MLOps", f"contoso/{DECLARATION.project_id}"):
        assert ado.ask("GET", f"/{path}/_APIs/Pipelines/").status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", RUNS, "POST"),
        ("PUT", f"{BUILDS}/501/tags", "GET, POST"),
        ("POST", "/_emulator/books", "GET"),
    ],
)
def test_a_method_that_the_resource_does_not_support(ado: Ado, method: str, path: str, allowed: str) -> None:
    assert ado.ask(method, path, {}).headers["Allow"] == allowed
    message = ado.refused(405, "MethodNotAllowedException", method, path, {})
    assert message == f"The requested resource does not support the HTTP method {method}."


@pytest.mark.parametrize("version", ["1.0", "6.0-preview.1", "7.1", "7.2-preview"])
def test_versions_that_the_service_supports(ado: Ado, version: str) -> None:
    assert ado.ask("POST", RUNS, PLAIN_RUN, query={"api-version": version}).status_code == 200
    assert ado.ask("GET", BUILDS, query={"api-version": ""}).status_code == 200  # optional for reads


@pytest.mark.parametrize(
    "header",
    [{"Accept": "application/json;api-version=7.1-preview.1"}, {"Content-Type": "application/json; api-version=7.1"}],
)
def test_a_version_in_a_header(ado: Ado, header: dict[str, str]) -> None:
    status = ado.ask("POST", RUNS, PLAIN_RUN, query={"api-version": ""}, headers=header).status_code
    assert status == 400  # the empty version in the query has precedence

    path = f"{RUNS}?previewRun=no"
    client = ado._client
    answer = client.post(path, json=PLAIN_RUN, headers={**basic(PAT), "Content-Type": "application/json", **header})
    assert answer.status_code == 200
