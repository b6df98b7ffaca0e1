"""The proof after a deployment: what is found, and the message and the advice for each fault."""

import json
import re
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from werkzeug.wrappers import Request, Response

from devstack.http_server import serving
from handlers import EVENT_TYPES, NAMES
from shared.composition import load_configuration
from shared.credentials import Secret
from shared.events.event import AML_PREFIX
from shared.journal.journal import Journal
from shared.proof import _place, write_proof
from shared.version import VERSION
from tests.support.canaries import leaks, secret
from tests.support.services.odd_host import Answer, ScriptedHost, answering
from tests.tools.conftest import Desk, start_host
from tools.actions.canary import _note, prove
from tools.actions.check_results import CheckResult, Status
from tools.azure import answers
from tools.azure.answers import ResourceManagerError
from tools.azure.connecting import Pauses
from tools.azure.deployment import Deployment
from tools.azure.plan import FUNCTION_APP, WORKSPACE_VARIABLES, Plan
from tools.errors import CommandFailed
from tools.events.webhook import Webhook
from tools.installation import Installation

GROUP = "/subscriptions/0f/resourceGroups/rg/providers"
APP = f"{GROUP}/Microsoft.Web/sites/func-1"
WORKSPACE = f"{GROUP}/Microsoft.MachineLearningServices/workspaces/ws"
TOPIC = f"{GROUP}/Microsoft.EventGrid/systemTopics/t"
TYPES = [declared.type for declared in EVENT_TYPES.values() if declared.type.startswith(AML_PREFIX)]

DENIED = ResourceManagerError("GET x", "No role.", status=403, codes=("AuthorizationFailed",))
BUSY = ResourceManagerError("GET x", "no usable answer; check the network")

Found = dict[str, list[CheckResult]]


def subscription(name: str, types: Sequence[str] | None, **properties: Any) -> dict[str, Any]:
    dead_letters = {"identity": {"type": "SystemAssigned"}, "deadLetterDestination": {"endpointType": "StorageBlob"}}
    return {
        "name": name,
        "properties": {
            "provisioningState": "Succeeded",
            "destination": {"properties": {"resourceId": f"{APP.upper()}/functions/aml_event"}},
            "filter": {"includedEventTypes": types},
            "deadLetterWithResourceIdentity": dead_letters,
            **properties,
        },
    }


@dataclass
class Azure:
    """Azure Resource Manager, as far as it is asked. A document that is an exception is raised."""

    key: str = ""
    documents: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        topic = {"id": TOPIC, "identity": {"principalId": "p"}, "properties": {"source": WORKSPACE.lower()}}
        other = {"id": f"{TOPIC}2", "properties": {"source": f"{WORKSPACE}2"}}
        self.documents = {
            APP: {"properties": {"state": "Running", "defaultHostName": "func-1.invalid"}},
            f"{APP}/functions": [{"name": f"func-1/{name}", "properties": {}} for name in ("aml_event", "sweep")],
            f"{APP}/host/default/listKeys": {"systemKeys": {"eventgrid_extension": self.key}, "masterKey": secret("m")},
            "/subscriptions/0f/providers/Microsoft.EventGrid/systemTopics": [other, topic],
            f"{GROUP}/Microsoft.EventGrid/systemTopics": DENIED,
            f"{TOPIC}/eventSubscriptions": [subscription("n", TYPES[1:]), subscription("n-run", TYPES[:1])],
            **self.documents,
        }

    def get(self, path: str, api_version: str) -> Any:
        answer = self.documents.get(path)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, dict):
            return answers.Answer(answer, f"GET {path}")
        return answer and [answers.Answer(each, f"GET {path}") for each in answer]

    list = post = get


def proof(desk: Desk, azure: Azure, url: str, pauses: Pauses | None = None, **changes: Any) -> Found:
    """Return the results by check. Nothing contains the key."""
    values = {FUNCTION_APP: APP, WORKSPACE_VARIABLES[0]: WORKSPACE}
    deployment = replace(Deployment.of(Plan.of(values), values, url), **changes)
    installation = Installation(desk.folder, desk.environment)
    results = list(prove(installation, azure, deployment, pauses or Pauses(0)))  # type: ignore[arg-type]
    assert leaks(repr(results)) == []
    found: Found = {}
    for result in results:
        found.setdefault(result.check, []).append(result)
    return found


def only(found: Found, check: str) -> tuple[str, str, str]:
    (result,) = found[check]
    return result.status, result.detail, result.next_step or ""


@pytest.fixture
def desk(desk: Desk) -> Desk:
    write_proof(Journal(desk.store), "another", "1a2b3c4d", "")  # so that there is a journal
    return desk


@pytest.fixture
def scripted(desk: Desk) -> Iterator[ScriptedHost]:
    with answering((202, {}, "")) as host:
        yield host


@contextmanager
def app_with(desk: Desk, **facts: str) -> Iterator[str]:
    """Serve an app that writes its notes into the desk's journal, with these facts."""
    journal = Journal(desk.store)

    def answer(request: Request) -> Response:
        (event,) = request.get_json()
        write_proof(journal, event["id"], "1a2b3c4d", "")
        key, _ = _place(event["id"])
        record = journal.get(key)
        assert record is not None
        document = json.loads(record.document) | facts
        assert desk.store.replace(record._replace(document=json.dumps(document))) is not None
        return Response(status=202)

    with serving(Request.application(answer)) as server:
        yield server.url


class TestWhole:
    def test_it_works(self, desk: Desk) -> None:
        with start_host(desk, "--keys") as host:
            log = (desk.folder / "host.log").read_text(encoding="utf-8")
            (key,) = re.findall(r"(?m)^system key: (\S+)$", log)
            found = proof(desk, Azure(key), host.url)
            again = proof(desk, Azure(key), host.url)
            wrong = proof(desk, Azure(secret("key")), host.url)
            given = proof(desk, Azure("", {APP: DENIED}), host.url, key=Secret(key))
        routes = load_configuration(desk.environment, desk.folder, NAMES).routes
        words = {check: only(found, check) for check in found}
        assert {status for status, _, _ in words.values()} == {"ok"}
        assert {check: detail for check, (_, detail, _) in words.items()} == {
            "function app": "https://func-1.invalid runs",
            "function": "Azure lists aml_event",
            "key": "Azure returned the system key of the app's Event Grid endpoint",
            "test event": f"{host.url} acknowledged it (HTTP 202)",
            "journal": f"{desk.folder / 'journal.sqlite3'}: the app wrote down the test event",
            "app": f"the app runs version {VERSION} and this routes.yaml (digest {routes.digest}, 7 routes)",
            "events": "ws: 2 event subscriptions for all event types: n, n-run",
        }
        assert again == found
        assert {record.key.route for record in desk.records} == {"$test-events"}
        assert only(wrong, "test event") == (
            "failed",
            f"{host.url} answered HTTP 401: the app rejects its system key",
            "try again in some minutes, which a new key or role takes; if it stays so, restart the app",
        )
        assert {"journal", "app"}.isdisjoint(wrong)
        assert {check: only(given, check)[0] for check in given} == {
            **dict.fromkeys(("test event", "journal", "app", "events"), "ok"),
            "function app": "failed",
        }


class TestAnswers:
    @pytest.mark.parametrize(
        ("answer", "asked", "detail", "advice"),
        [
            ((401, {}, ""), 6, "HTTP 401: the app rejects its system key", "which a new key or role takes"),
            ((403, {}, "Ip Forbidden"), 1, "or got another key than its system key: Ip Forbidden", "restrictions"),
            ((403, {}, ""), 1, "does not admit this machine", "check EVENTGRID_EXTENSION_KEY"),
            ((404, {}, ""), 6, "HTTP 404: the app has not loaded the function", "nextstage-no-functions"),
            ((500, {}, "Exception"), 6, "HTTP 500: the function failed: Exception", "often its journal"),
            ((503, {}, ""), 6, "HTTP 503: the app does not start", "nextstage-no-functions"),
            ((302, {"Location": "https://login.invalid"}, ""), 1, "HTTP 302: a redirect", "App Service authentication"),
            ((400, {}, "no"), 1, "HTTP 400: no", "check that this is the function app"),
        ],
    )
    def test_one_that_is_no_acknowledgment(
        self, desk: Desk, answer: Answer, asked: int, detail: str, advice: str
    ) -> None:
        with answering(answer) as host:
            status, words, step = only(proof(desk, Azure(secret("key")), host.url), "test event")
        assert (status, len(host.asked)) == ("failed", asked)
        assert (words.startswith(host.url), detail in words, advice in step) == (True, True, True)
        assert {headers["x-functions-key"] for _, _, headers, _ in host.asked} == {secret("key")}

    def test_a_key_that_is_loaded_late(self, desk: Desk) -> None:
        with answering((401, {}, ""), (503, {}, ""), (202, {}, "")) as host:
            status, words, _ = only(proof(desk, Azure(secret("key")), host.url), "test event")
        assert (status, words) == ("ok", f"{host.url} acknowledged it (HTTP 202)")
        assert [headers["aeg-delivery-count"] for _, _, headers, _ in host.asked][:3] == ["0", "1", "2"]

    def test_none(self, desk: Desk) -> None:
        status, words, step = only(proof(desk, Azure(secret("key")), "http://127.0.0.1:9"), "test event")
        assert (status, "no answer from http://127.0.0.1:9: " in words, "private endpoint" in step) == (
            "failed",
            True,
            True,
        )

    def test_how_long_it_is_waited_for(self, desk: Desk) -> None:
        """And for the key, for which Azure asks the host. Each pause is announced."""
        waited: list[float] = []
        said: list[str] = []
        pauses = Pauses(None, waited.append, said.append)
        proof(desk, Azure(secret("key")), "http://127.0.0.1:9", pauses)
        assert (waited, len(said)) == ([2, 5, 10, 20, 30], 5)
        waited.clear()
        said.clear()
        proof(desk, Azure(""), "http://127.0.0.1:9", pauses)
        assert waited == [5, 10, 20]
        assert [line.rpartition("; ")[2] for line in said] == [f"trying again in {each} s" for each in (5, 10, 20)]

    @pytest.mark.parametrize("url", ["http://127.0.0.1:9", ""])
    def test_none_from_outside_a_private_network(self, desk: Desk, url: str) -> None:
        with answering((403, {}, "Ip Forbidden")) as host:
            found = proof(desk, Azure(secret("key")), url or host.url, is_private=True)
        status, words, step = only(found, "test event")
        assert (status, words.endswith("so nothing was tested")) == ("warning", True)
        assert step == "run './manage.py doctor --deployed' on a machine that it admits"
        assert "journal" not in found


class TestJournal:
    def test_that_of_another_app(self, desk: Desk, scripted: ScriptedHost) -> None:
        """Or an earlier version, which acknowledges the test event too."""
        found = proof(desk, Azure(secret("key")), scripted.url)
        status, words, step = only(found, "journal")
        assert status == "failed"
        place = desk.folder / "journal.sqlite3"
        assert words.startswith(f"the app acknowledged the test event, but wrote nothing into the journal {place}: it")
        assert step.startswith("compare JOURNAL_CONNECTION with the app's setting of this name; if they are the same, ")
        assert ("app" in found, only(found, "test event")[0]) == (False, "ok")

    def test_one_that_may_not_be_read(self, desk: Desk, scripted: ScriptedHost) -> None:
        with answering((403, {"x-ms-error-code": "AuthorizationPermissionMismatch"}, "{}")) as tables:
            account_key = b64encode(secret("account-key").encode()).decode()
            connection = f"AccountName=a;AccountKey={account_key};TableEndpoint={tables.url}/a"
            desk.settings = {"JOURNAL_CONNECTION": f"DefaultEndpointsProtocol=http;{connection}"}
            status, words, step = only(proof(desk, Azure(secret("key")), scripted.url), "journal")
        assert status == "warning"
        assert "refuses (AuthorizationPermissionMismatch)" in words
        assert words.endswith("which this version does only after it has written to its journal")
        assert step.startswith("reading it needs the role Storage Table Data Reader or Contributor")

    def test_one_on_this_machine_is_not_the_one_in_azure(self, desk: Desk) -> None:
        installation = Installation(desk.folder, desk.environment)
        result = _note(installation, Webhook("https://func-1.invalid"), "id")
        assert isinstance(result, CheckResult)
        assert (result.status, "is not the app's journal" in result.detail) == (Status.WARNING, True)
        assert result.next_step == "set JOURNAL_CONNECTION as 'azd env get-value JOURNAL_CONNECTION' shows it"

    @pytest.mark.parametrize(
        ("settings", "status", "words"),
        [
            ({"JOURNAL_CONNECTION": "sqlite:nowhere.sqlite3"}, "warning", "does not exist"),
            ({"JOURNAL_LEASE_SECONDS": "x"}, "skipped", "needs valid settings"),
        ],
    )
    def test_none(self, desk: Desk, scripted: ScriptedHost, settings: dict[str, str], status: str, words: str) -> None:
        desk.settings = settings
        found = proof(desk, Azure(secret("key")), scripted.url)
        assert (only(found, "journal")[0], words in only(found, "journal")[1]) == (status, True)

    def test_two_test_events_at_one_place(self, desk: Desk, scripted: ScriptedHost) -> None:
        """The second one finds its note."""
        answer, journal = scripted.answer, Journal(desk.store)

        def late(request: Request) -> Response:
            if len(scripted.asked) == 1:
                write_proof(journal, request.get_json()[0]["id"], "1a2b3c4d", "")
            return answer(request)

        with serving(Request.application(late)) as server:
            found = proof(desk, Azure(secret("key")), server.url)
        assert (len(scripted.asked), only(found, "journal")[0]) == (2, "ok")


class TestVersions:
    def test_an_older_app(self, desk: Desk) -> None:
        routes = load_configuration(desk.environment, desk.folder, NAMES).routes.digest
        with app_with(desk, version="0.0.9", routes=routes, instance="0a1b") as url:
            found = proof(desk, Azure(secret("key")), url)
        assert only(found, "journal")[1].endswith("the app wrote down the test event (instance 0a1b)")
        advice = "deploy what is here: 'azd deploy'; or check out what is deployed"
        assert only(found, "app") == ("warning", f"the app runs version 0.0.9, and this is version {VERSION}", advice)

    def test_other_routes(self, desk: Desk) -> None:
        ours = load_configuration(desk.environment, desk.folder, NAMES).routes.digest
        with app_with(desk) as url:
            status, words, _ = only(proof(desk, Azure(secret("key")), url), "app")
            desk.routes("name: a\nevent: Nope\npipeline: 1")
            invalid = only(proof(desk, Azure(secret("key")), url), "app")
        assert status == "warning"
        assert words == f"the app runs another routes.yaml (digest 1a2b3c4d) than this one (digest {ours}, 1 route)"
        assert invalid == ("skipped", "needs valid routes; the app's have the digest 1a2b3c4d", "")


class TestAzure:
    @pytest.mark.parametrize(
        ("path", "answer", "check", "detail", "advice"),
        [
            (APP, None, "function app", f"there is no function app {APP}", "check NEXTSTAGE_FUNCTION_APP_ID, or run"),
            (APP, {"properties": {"state": "Stopped"}}, "function app",
             "func-1 is stopped, and each event becomes a dead letter at once", "then run './manage.py redrive --dead"),
            (APP, DENIED, "function app", "GET x: AuthorizationFailed: No role. (HTTP 403)", "the role Reader"),
            (APP, BUSY, "function app", "GET x: no usable answer", "check the network"),
            (f"{APP}/functions", [], "function", "does not list the function aml_event, nor any", "manage.py connect"),
            (f"{APP}/functions", [{"name": "func-1/WarmUp"}], "function", "aml_event, only WarmUp", "connect"),
            (f"{APP}/functions", [{"name": "func-1/aml_event", "properties": {"isDisabled": True}}],
             "function", "the function aml_event is disabled", "AzureWebJobs.aml_event.Disabled"),
            (f"{APP}/functions", DENIED, "function", "No role.", "the role Reader"),
            (f"{APP}/host/default/listKeys", {"masterKey": secret("m"), "systemKeys": {}},
             "key", "the app has no system key eventgrid_extension", "nextstage-no-functions"),
            (f"{APP}/host/default/listKeys", {"systemKeys": {"eventgrid_extension": secret("\u20ac")}},
             "key", "the key contains invalid characters", ""),
            (f"{APP}/host/default/listKeys", None, "key", "the app has no system key", ""),
            (f"{APP}/host/default/listKeys", DENIED, "key", "No role.", "or set EVENTGRID_EXTENSION_KEY"),
            ("/subscriptions/0f/providers/Microsoft.EventGrid/systemTopics", [], "events",
             "ws: no event subscription leads to func-1, so no event arrives", "run './manage.py connect'"),
            ("/subscriptions/0f/providers/Microsoft.EventGrid/systemTopics", DENIED, "events", "No role", "EventGrid"),
            (f"{TOPIC}/eventSubscriptions", [subscription("n", TYPES, destination={"properties": {"resourceId": "x"}}),
                                             subscription("w", TYPES, destination={"endpointType": "WebHook"})],
             "events", "no event subscription leads to func-1", "connect"),
            (f"{TOPIC}/eventSubscriptions", [subscription("n", TYPES, provisioningState="Failed")], "events",
             "ws: the event subscription n is in the state Failed", "connect"),
            (f"{TOPIC}/eventSubscriptions", [subscription("n", TYPES, deadLetterWithResourceIdentity=None)], "events",
             "ws: n cannot keep the events that are not delivered within a day; they are lost", "connect"),
        ],
    )  # fmt: skip
    def test_a_fault(
        self, desk: Desk, scripted: ScriptedHost, path: str, answer: Any, check: str, detail: str, advice: str
    ) -> None:
        azure = Azure(secret("key"), {path: answer})
        status, words, step = only(proof(desk, azure, scripted.url), check)
        assert (status, detail in words, advice in step) == ("failed", True, True), (words, step)

    def test_a_topic_without_identity_cannot_write_dead_letters(self, desk: Desk, scripted: ScriptedHost) -> None:
        path = "/subscriptions/0f/providers/Microsoft.EventGrid/systemTopics"
        azure = Azure(secret("key"), {path: [{"id": TOPIC, "properties": {"source": WORKSPACE}}]})
        assert [one.status for one in proof(desk, azure, scripted.url)["events"]] == ["failed", "failed"]

    def test_a_type_that_no_subscription_delivers(self, desk: Desk, scripted: ScriptedHost) -> None:
        path = f"{TOPIC}/eventSubscriptions"
        azure = Azure(secret("key"), {path: [subscription("n", TYPES[1:])]})
        expected = f"ws: no event subscription delivers {TYPES[0].rpartition('.')[2]}"
        assert only(proof(desk, azure, scripted.url), "events")[:2] == ("warning", expected)
        azure = Azure(secret("key"), {path: [subscription("n", None)]})
        assert only(proof(desk, azure, scripted.url), "events")[0] == "ok"

    def test_a_route_whose_events_nothing_delivers(self, desk: Desk, scripted: ScriptedHost) -> None:
        desk.routes("name: new-data\nevent: Microsoft.Storage.BlobCreated\npipeline: p")
        last = proof(desk, Azure(secret("key")), scripted.url)["events"][-1]
        expected = "new-data: no workspace and no source delivers Microsoft.Storage.BlobCreated, so the route never"
        assert (last.status, last.detail.startswith(expected)) == ("warning", True)
        desk.routes("name: new-data\nevent: Nope\npipeline: p")  # another check says so
        assert only(proof(desk, Azure(secret("key")), scripted.url), "events")[0] == "ok"

    @pytest.mark.parametrize(("tries", "status"), [(3, "ok"), (4, "failed")])
    def test_a_host_that_must_start_before_it_gives_the_key(
        self, desk: Desk, scripted: ScriptedHost, tries: int, status: str
    ) -> None:
        starting = ResourceManagerError(
            "POST x", "Encountered an error (ServiceUnavailable) from host runtime.", status=400
        )
        path = f"{APP}/host/default/listKeys"
        azure = Azure(secret("key"))
        key = azure.documents[path]
        left = [starting, {"systemKeys": {}}, starting, starting][:tries]

        class Waking(Azure):
            def post(self, path: str, api_version: str) -> Any:
                self.documents[path] = left.pop(0) if left else key
                return self.get(path, api_version)

        found = proof(desk, Waking(secret("key")), scripted.url)
        assert (only(found, "key")[0], left) == (status, [])

    def test_the_key_goes_to_the_app_only(self, desk: Desk) -> None:
        documents = {APP: {"properties": {"defaultHostName": "func-1.invalid", "hostNames": ["own.invalid"]}}}
        azure = Azure(secret("key"), documents)
        words = "https://other.invalid is not an address of func-1, so it does not get the app's key"
        advice = "leave out --url and NEXTSTAGE_URL, or give the key in EVENTGRID_EXTENSION_KEY"
        assert only(proof(desk, azure, "https://other.invalid"), "test event") == ("failed", words, advice)
        for url in ("https://OWN.invalid", "https://func-1.invalid"):
            assert "no answer from" in only(proof(desk, azure, url), "test event")[1]

    def test_what_cannot_be_tested_then(self, desk: Desk) -> None:
        stopped = {"properties": {"state": "Stopped", "defaultHostName": "x"}}
        for path, answer, why in [
            (APP, stopped, "needs an app that runs"),
            (APP, DENIED, "needs the address of the app"),
            (f"{APP}/host/default/listKeys", DENIED, "needs the system key"),
            (APP, None, "needs the address of the app"),
        ]:
            assert only(proof(desk, Azure(secret("key"), {path: answer}), ""), "test event") == ("skipped", why, "")


class TestDeployment:
    def test_the_profile_says_whether_it_is_private(self) -> None:
        values = {FUNCTION_APP: APP, WORKSPACE_VARIABLES[0]: WORKSPACE}
        named = Deployment.of(Plan.of(values), values, "")
        assert (named.app.name, named.function_id, named.is_private) == (
            "func-1",
            f"{APP}/functions/aml_event",
            False,
        )
        values["NEXTSTAGE_PROFILE"] = "private"
        assert Deployment.of(Plan.of(values), values, "").is_private

    def test_no_app_is_named(self) -> None:
        values = {WORKSPACE_VARIABLES[0]: WORKSPACE}
        message = (
            "it is not known which app is deployed; run this after 'azd provision', or set NEXTSTAGE_FUNCTION_APP_ID"
        )
        with pytest.raises(CommandFailed, match=message):
            Deployment.of(Plan.of(values), values, "")
