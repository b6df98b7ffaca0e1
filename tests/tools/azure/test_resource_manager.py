"""The client for Azure Resource Manager, over a socket, and who signs in to it."""

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from azure.core.exceptions import AzureError
from azure.core.pipeline import PipelineContext, PipelineRequest
from azure.core.rest import HttpRequest
from azure.identity import AzureDeveloperCliCredential, DefaultAzureCredential
from werkzeug.wrappers import Request, Response

from devstack.http_server import serving
from shared.clouds import CHINA, PUBLIC
from tests.support.azure import Identity
from tests.support.canaries import leaks, secret
from tools.azure.answers import ResourceManagerError
from tools.azure.policies import OneHost, Retries
from tools.azure.resource_manager import ResourceManager
from tools.azure.sign_in import PAUSE_VARIABLE, URL_VARIABLE, credential, pause_seconds, resource_manager
from tools.errors import CommandFailed

TOPIC = "/subscriptions/0f/resourceGroups/a (b)/providers/Microsoft.EventGrid/systemTopics/t"
V = "2025-02-15"
CREATING = {"properties": {"provisioningState": "Creating"}}
DONE = {"id": TOPIC, "properties": {"provisioningState": "Succeeded"}}
FORBIDDEN = {
    "error": {
        "code": "Forbidden",
        "message": "May not\n write.",
        "details": [{"code": "AuthorizationFailed", "message": "No role."}],
    }
}


def answer(status: int, document: Any = None, **headers: str) -> Response:
    """``{url}`` in a header is replaced by the server's."""
    text = "" if document is None else document if isinstance(document, str) else json.dumps(document)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(text, status, named, content_type="application/json")


@dataclass
class Service:
    """Answers from a list, and records the requests."""

    answers: Sequence[Response] = ()
    requests: list[str] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)

    def __call__(self, environ: Any, start_response: Any) -> Any:
        request = Request(environ)
        self.tokens.add(request.headers.get("Authorization", ""))
        self.bodies.append(json.loads(request.get_data() or "null"))
        given = self.answers[len(self.requests)]
        self.requests.append(f"{request.method} {request.full_path}")
        for name, value in [*given.headers.items()]:
            given.headers[name] = value.replace("{url}", request.host_url.rstrip("/"))
        given.set_data(given.get_data(as_text=True).replace("{url}", request.host_url.rstrip("/")))
        return given(environ, start_response)


@dataclass
class Side:
    """The service, and a client of it."""

    service: Service
    url: str
    identity: Identity
    said: list[str] = field(default_factory=list)

    @property
    def client(self) -> ResourceManager:
        return ResourceManager(self.identity, self.url, pause_seconds=0, say=self.said.append)

    def answers(self, *answers: Response) -> ResourceManager:
        self.service.answers = answers
        return self.client

    def refuses(self, *answers: Response) -> ResourceManagerError:
        """Return the error that a PUT of a topic ends with."""
        with pytest.raises(ResourceManagerError) as caught:
            self.answers(*answers).put(TOPIC, {}, V)
        return caught.value


@pytest.fixture
def side() -> Iterator[Side]:
    service = Service()
    with serving(service) as server:
        yield Side(service, server.url, Identity(secret("token")))


class TestReading:
    def test_a_resource(self, side: Side) -> None:
        assert side.answers(answer(200, DONE)).get(TOPIC, V) == DONE
        assert side.service.requests == [f"GET {TOPIC}?api-version={V}"]
        assert side.service.tokens == {f"Bearer {secret('token')}"}
        assert side.identity.scopes == [f"{side.url}/.default"]

    def test_a_name_with_signs_of_a_url(self, side: Side) -> None:
        side.answers(answer(200, DONE)).get("/subscriptions/s/resourceGroups/a?b#c d", V)
        (request,) = side.service.requests
        assert request == f"GET /subscriptions/s/resourceGroups/a?b#c d?api-version={V}", "as the server decodes it"

    def test_no_such_resource(self, side: Side) -> None:
        assert side.answers(answer(404, {"error": {"code": "ResourceNotFound"}})).get(TOPIC, V) is None

    def test_a_list_on_several_pages(self, side: Side) -> None:
        next_link = f"{{url}}/more?api-version={V}&$skiptoken=x"
        pages = answer(200, {"value": [{"id": "1"}], "nextLink": next_link}), answer(200, {"value": [{"id": "2"}]})
        assert side.answers(*pages).list("/all", V, filter_="a eq 'b'", stack="Python") == [{"id": "1"}, {"id": "2"}]
        assert side.service.requests == [
            f"GET /all?api-version={V}&$filter=a%20eq%20'b'&stack=Python",
            f"GET /more?api-version={V}&$skiptoken=x",
        ]

    def test_a_redirect(self, side: Side) -> None:
        """It comes from a proxy or a sign-in page. It must not pass for an empty answer."""
        with pytest.raises(ResourceManagerError, match=r"no usable answer: HTTP 302 redirects .*; check the network"):
            side.answers(answer(302, None, Location="https://login.example.com/")).get(TOPIC, V)

    @pytest.mark.parametrize(("given", "returned"), [(answer(200, {"a": 1}), {"a": 1}), (answer(204), None)])
    def test_an_action(self, side: Side, given: Response, returned: Any) -> None:
        assert side.answers(given).post("/app/host/default/sync", V, {"b": 2}) == returned
        assert side.service.bodies == [{"b": 2}]

    @pytest.mark.parametrize(
        ("pages", "advice"),
        [
            ([answer(200)], "check the network: DNS, proxy"),
            ([answer(200, {})], "check the network: DNS, proxy"),
            ([answer(200, {"value": "abc"})], "try again"),
            ([answer(200, {"value": [None]})], "try again"),
            ([answer(200, {"value": [], "nextLink": 5})], "check the network: DNS, proxy"),
            ([answer(200, {"value": [], "nextLink": "{url}/all"})] * 2, "check the network: DNS, proxy"),
        ],
        ids=["empty", "no-list", "not-a-list", "not-objects", "not-a-link", "endless"],
    )
    def test_a_list_that_is_none(self, side: Side, pages: list[Response], advice: str) -> None:
        """It must not pass for an empty list: ``disconnect`` would find nothing to remove."""
        with pytest.raises(ResourceManagerError, match=f"no usable answer: .*; {advice}"):
            side.answers(*pages).list("/all", V)

    @pytest.mark.parametrize("page", ["", "<html>", "[]", "null", "[" * 100_000])
    def test_an_answer_of_somebody_else(self, side: Side, page: str) -> None:
        with pytest.raises(ResourceManagerError, match=r"no usable answer: .*; check the network: DNS, proxy"):
            side.answers(answer(200, page)).get(TOPIC, V)


class TestWriting:
    @pytest.mark.parametrize(
        "answers",
        [
            [answer(200, DONE)],
            [answer(201, CREATING), answer(200, CREATING), answer(200, DONE)],
            [
                answer(201, CREATING, Azure_AsyncOperation="{url}/operation"),
                answer(200, {"status": "InProgress"}),
                answer(200, {"status": "Succeeded"}),
                answer(200, DONE),
            ],
            [answer(202, None, Location="{url}/operation"), answer(202, Location="{url}/other"), answer(200, DONE)],
            [answer(429, None, x_ms_retry_after_ms="1"), answer(503), answer(200, DONE)],
        ],
        ids=["at-once", "provisioning-state", "operation", "location", "throttled"],
    )
    def test_it_returns_when_the_resource_is_there(self, side: Side, answers: list[Response]) -> None:
        assert side.answers(*answers).put(TOPIC, {"location": "x"}, V) == DONE
        assert len(side.service.requests) == len(answers)
        assert side.service.bodies[0] == {"location": "x"}

    @pytest.mark.parametrize(
        ("answers", "existed"),
        [
            ([answer(200)], True),
            ([answer(202, None, Location="{url}/operation"), answer(202, Location="{url}/x"), answer(204)], True),
            ([answer(204)], False),
            ([answer(404, {"error": {"code": "ResourceGroupNotFound"}})], False),
        ],
        ids=["at-once", "operation", "absent", "group-absent"],
    )
    def test_a_deletion(self, side: Side, answers: list[Response], *, existed: bool) -> None:
        assert side.answers(*answers).delete(TOPIC, V) is existed
        assert len(side.service.requests) == len(answers)

    def test_a_resource_that_is_still_being_changed(self, side: Side) -> None:
        """It was created by a process that was killed, or by a request whose answer was lost."""
        conflict = {"error": {"code": "Conflict", "message": "Its provisioning state is Creating."}}
        answers = [answer(409, conflict), answer(409, conflict), answer(200, DONE)]
        assert side.answers(*answers).put(TOPIC, {}, V) == DONE
        (said,) = side.said
        assert said.startswith("PUT subscriptions/")
        assert said.endswith("an earlier change has not ended; waiting, at most two minutes")
        side.service.requests.clear()
        assert side.answers(answer(409, conflict), answer(204)).delete(TOPIC, V) is False
        side.service.requests.clear()
        assert side.refuses(*[answer(409, conflict)] * 25).reason == "Its provisioning state is Creating."
        side.service.requests.clear()
        assert side.refuses(answer(409, {"error": {"code": "ScopeLocked", "message": "No."}})).code == "ScopeLocked"

    @pytest.mark.parametrize(("seconds", "is_announced"), [("3600", True), ("10", True), ("9", False), (None, False)])
    def test_a_long_pause_is_announced(self, seconds: str | None, is_announced: bool) -> None:
        said: list[str] = []
        slept: list[float] = []
        headers = {"Retry-After": seconds} if seconds else {}
        response = SimpleNamespace(http_response=SimpleNamespace(status_code=429, headers=headers))
        retries = Retries(0, said.append)
        retries.sleep(retries.configure_retries({}), SimpleNamespace(sleep=slept.append), response)
        assert slept == ([float(seconds)] if seconds else [])
        words = f"Azure Resource Manager answered HTTP 429, and asks to wait {seconds} s"
        assert said == ([words] if is_announced else [])

    def test_a_provider_that_is_not_registered(self, side: Side) -> None:
        """The library registers it. A template did that too, but a plain PUT does not."""
        error = {"code": "MissingSubscriptionRegistration", "message": "Register 'Microsoft.EventGrid'."}
        assert side.refuses(answer(409, {"error": error}), answer(403)).code == "MissingSubscriptionRegistration"
        _, registration = side.service.requests
        assert registration.startswith("POST /subscriptions/0f/providers/Microsoft.EventGrid/register?")


class TestRefusals:
    def test_what_the_service_says(self, side: Side) -> None:
        error = side.refuses(answer(403, FORBIDDEN))
        assert str(error) == (
            "PUT subscriptions/0f/resourceGroups/a%20(b)/providers/Microsoft.EventGrid/systemTopics/t: "
            "Forbidden: May not write. No role. (HTTP 403)"
        )
        assert (error.status, error.code) == (403, "Forbidden")
        assert error.codes == ("Forbidden", "AuthorizationFailed")
        assert error.exit_code == 1
        assert len(side.service.requests) == 1

    @pytest.mark.parametrize(
        "answers",
        [
            [answer(201, CREATING, Azure_AsyncOperation="{url}/o"), answer(200, {"status": "Failed", **FORBIDDEN})],
            [answer(201, CREATING), answer(403, FORBIDDEN)],
        ],
    )
    def test_an_operation_that_fails(self, side: Side, answers: list[Response]) -> None:
        assert side.refuses(*answers).codes == ("Forbidden", "AuthorizationFailed")

    def test_a_resource_that_fails(self, side: Side) -> None:
        failed = {"properties": {"provisioningState": "Failed"}}
        error = side.refuses(answer(201, CREATING), answer(200, failed))
        assert str(error).endswith("systemTopics/t: it failed, and no reason is given")

    def test_a_service_that_stays_down(self, side: Side) -> None:
        error = side.refuses(*[answer(503, {"error": {"code": "Busy", "message": "Later."}})] * 6)
        assert str(error).endswith("Busy: Later. (HTTP 503)")

    def test_no_answer(self) -> None:
        with pytest.raises(
            ResourceManagerError, match=r"no usable answer: .*; check the network: DNS, proxy"
        ) as caught:
            ResourceManager(Identity(secret("token")), "http://127.0.0.1:9", pause_seconds=0).get(TOPIC, V)
        assert caught.value.status is None

    @pytest.mark.parametrize("page", ["<html>", "{", "null", "[" * 100_000])
    def test_an_answer_of_somebody_else_is_not_a_missing_token(self, side: Side, page: str) -> None:
        error = side.refuses(answer(200, page))
        assert "no usable answer: " in str(error)
        assert str(error).endswith("; check the network: DNS, proxy, firewall")

    def test_nobody_is_signed_in(self, side: Side) -> None:
        side.identity.error = "not logged in\nmore"
        with pytest.raises(ResourceManagerError, match="no token for it: not logged in; sign in with 'azd auth login'"):
            side.client.get(TOPIC, V)

    @pytest.mark.parametrize(
        "ask",
        [
            lambda url, side: side.answers(answer(200, {"value": [], "nextLink": f"{url}/next"})).list("/all", V),
            lambda url, side: side.answers(answer(202, None, Location=f"{url}/operation")).delete(TOPIC, V),
            lambda url, side: side.answers(answer(201, CREATING, Azure_AsyncOperation=f"{url}/o")).put(TOPIC, {}, V),
        ],
        ids=["next-page", "location", "operation"],
    )
    def test_no_token_to_another_host(self, side: Side, ask: Callable[[str, Side], object]) -> None:
        stranger = Service([answer(200, {"status": "Succeeded"})] * 9)
        with serving(stranger) as server, pytest.raises(ResourceManagerError, match=r"another host, .* gets no token"):
            ask(server.url, side)
        assert stranger.requests == []

    @pytest.mark.parametrize(
        ("url", "is_admitted"),
        [
            ("https://Management.azure.com/next", True),
            ("https://management.azure.com:443/next", True),
            ("https://westus.management.azure.com/next", True),
            ("https://management.azure.com:8443/next", False),
            ("http://management.azure.com/next", False),
            ("https://management.azure.com.example.com/next", False),
            ("https://management.azure.com@example.com/next", False),
            ("https://evilmanagement.azure.com/next", False),
        ],
    )
    def test_which_hosts_get_the_token(self, url: str, *, is_admitted: bool) -> None:
        request = PipelineRequest(HttpRequest("GET", url), PipelineContext(None))
        with nullcontext() if is_admitted else pytest.raises(AzureError, match="gets no token"):
            OneHost("https://management.azure.com").on_request(request)

    @pytest.mark.parametrize("cli", ["Azure Developer CLI", "Azure CLI"])
    def test_output_with_a_token_is_not_shown(self, side: Side, cli: str) -> None:
        side.identity.error = f'Unexpected output from {cli}: \'{{"token":"{secret("token")}"}}\''
        with pytest.raises(
            ResourceManagerError, match=rf"no token for it: Unexpected output from {cli}; sign"
        ) as caught:
            side.client.get(TOPIC, V)
        assert leaks(str(caught.value)) == []

    def test_no_token_over_http_to_another_machine(self) -> None:
        with pytest.raises(CommandFailed, match=r"AZURE_RESOURCE_MANAGER_URL is 'http://example.com'; it must begin"):
            resource_manager({URL_VARIABLE: "http://example.com"}, print)


def test_keys_are_not_logged(side: Side, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    keys = {"systemKeys": {"eventgrid_extension": secret("key")}}
    assert side.answers(answer(200, keys)).post("/app/host/default/listKeys", V) == keys
    assert leaks(caplog.text) == []


class TestSignIn:
    def test_in_an_environment_of_azd_as_its_user(self, tmp_path: Path) -> None:
        azd = tmp_path / "azd"
        azd.touch(mode=0o755)
        environment = {"AZURE_ENV_NAME": "dev", "PATH": str(tmp_path)}
        assert isinstance(credential(environment, PUBLIC), AzureDeveloperCliCredential)

    def test_in_the_tenant_of_the_environment(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        azd = tmp_path / "azd"
        answer = '{"token": "t", "expiresOn": "2099-01-01T00:00:00Z"}'
        azd.write_text(f"#!/bin/sh\necho \"$@\" >> {tmp_path}/asked\necho '{answer}'\n")
        azd.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        environment = {"AZURE_ENV_NAME": "dev", "AZURE_TENANT_ID": "a-tenant", "PATH": str(tmp_path)}
        assert credential(environment, PUBLIC).get_token("scope/.default").token == "t"
        assert "--tenant-id a-tenant" in (tmp_path / "asked").read_text()

    @pytest.mark.parametrize("environment", [{}, {"AZURE_ENV_NAME": "dev", "PATH": ""}])
    def test_elsewhere_as_the_default_chain_finds(self, environment: dict[str, str]) -> None:
        assert isinstance(credential(environment, CHINA), DefaultAzureCredential)

    def test_which_cloud(self) -> None:
        assert resource_manager({"AZURE_CLOUD": "AzureChinaCloud"}, print) is not None
        with pytest.raises(CommandFailed, match="AZURE_CLOUD is 'Moon'; it must be one of AzureCloud, "):
            resource_manager({"AZURE_CLOUD": "Moon"}, print)

    @pytest.mark.parametrize("text", ["soon", "-1", "nan", "inf"])
    def test_a_pause_that_is_not_one(self, text: str) -> None:
        with pytest.raises(CommandFailed, match=f"{PAUSE_VARIABLE} is '{text}'; it must be a number of seconds"):
            pause_seconds({PAUSE_VARIABLE: text})
