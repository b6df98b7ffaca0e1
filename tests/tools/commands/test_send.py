"""``manage.py send``: to the app on the stand-in host, and to hosts with unusual answers."""

import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import timedelta
from itertools import count
from typing import Any

import pytest

from devstack.events import sample_text
from devstack.processes import RunningProcess
from handlers import DISPATCH, NAMES
from shared.clock import utc_now
from shared.composition import compose, load_configuration
from shared.errors import DeliveryDeferred, JournalUnavailable
from shared.journal.journal import Journal
from shared.journal.records import JournalKey, Selection, State
from shared.routing.running import PARTITION as RUNNING_ROUTES
from shared.routing.running import announce
from shared.routing.table import RouteTable
from tests.support.builders import run_completed
from tests.support.canaries import leaks, secret
from tests.support.services.odd_host import Answer, answering
from tests.tools.conftest import RIGHT, TRIAGE, WRONG, Desk
from tools.actions import delivery
from tools.actions.running_app import ADVICE
from tools.events.documents import Document
from tools.events.samples import SAMPLE_NAMES
from tools.events.webhook import HandshakeFailed, HostUnreachable, Webhook, webhook
from tools.installation import Installation


class TestToTheApp:
    def test_a_sample_as_a_process(self, busy_desk: Desk, host: RunningProcess) -> None:
        result = busy_desk.process("send", "RunCompleted", "--url", host.url, "--set", "data.runId=r-1", "--wait")
        assert (result.code, result.err) == (0, "")
        ((event, route, outcome, run),) = result.rows
        (queued,) = busy_desk.runs
        assert queued["templateParameters"] == {"runId": "r-1", "experimentName": "train"}
        assert (route, outcome) == ("evaluate-after-training", "queued")
        assert run.startswith(f"run {queued['id']} http")
        (record,) = busy_desk.records
        assert event == f"RunCompleted {record.entry.event_id}"

    @pytest.mark.parametrize("schema", ["cloud", "eventgrid"])
    def test_every_sample_in_either_schema(self, busy_desk: Desk, host: RunningProcess, schema: str) -> None:
        routed = [name for name in SAMPLE_NAMES if "." not in name]
        result = busy_desk.run("send", *routed, "--url", host.url, "--schema", schema, "--wait")
        assert (result.code, [row[2] for row in result.rows]) == (0, ["queued"] * len(routed))
        assert len(busy_desk.runs) == len(routed)

    def test_a_type_that_only_a_route_names(self, desk: Desk) -> None:
        desk.fails(
            2, "com.example.landed is neither a file nor an event type", "send", "com.example.landed", "--dry-run"
        )
        desk.routes("name: landed\nevent: com.example.landed\npipeline: triage")
        for written in ("com.example.landed", "COM.EXAMPLE.Landed"):
            (event,) = desk.run("send", written, "--set", "data.region=west", "--dry-run").json
            assert (event["eventType"], event["data"]["region"]) == ("com.example.landed", "west")
        desk.fails(2, "did you mean 'com.example.landed'?", "send", "com.example.land", "--dry-run")
        (blob,) = desk.run("send", "Microsoft.Storage.BlobCreated", "--dry-run").json
        assert blob["subject"].startswith("/blobServices/default/containers/")

    def test_a_sample_that_is_sent_twice_is_two_occurrences(self, busy_desk: Desk, host: RunningProcess) -> None:
        for _ in range(2):
            result = busy_desk.run("send", "runcompleted", "--url", f"{host.url}/")
            assert result.rows[0][1:] == ["-", "sent", f"to {host.url}: HTTP 202"]
        assert len(busy_desk.runs) == 2
        message = "HTTP 404: cannot find function: 'nope'; check that this is the function app"
        busy_desk.fails(1, message, "send", "ModelDeployed", "--url", host.url, "--function", "nope", "--wait")

    def test_an_event_from_a_file_is_the_same_occurrence_again(self, busy_desk: Desk, host: RunningProcess) -> None:
        arguments = ("send", busy_desk.file(sample_text("run-completed")), "--url", host.url, "--wait", "--json")
        (first,), (second,) = (busy_desk.run(*arguments).json for _ in range(2))
        (run,) = busy_desk.runs
        assert first["event"]["id"] != second["event"]["id"]
        assert [(one["outcomes"][0]["outcome"], one["outcomes"][0]["run_id"]) for one in (first, second)] == [
            ("queued", run["id"]),
            ("duplicate", run["id"]),
        ]
        assert first["sent_to"] == host.url

    def test_parked_and_ignored(self, busy_desk: Desk, host: RunningProcess) -> None:
        event = busy_desk.file(sample_text("model-registered-unsafe-version"))
        parked = busy_desk.run("send", event, "--as-is", "--url", host.url, "--wait")
        assert (parked.code, parked.rows[0][1:3]) == (1, ["deploy-candidate", "parked"])
        assert parked.rows[0][0].endswith(json.loads(event.read_text())["id"])
        key = busy_desk.records[0].key.key[:12]
        assert f"'./manage.py journal show {key}' shows all about it" in parked.err
        assert f"'./manage.py redrive {key}' tries it again" in parked.err
        ignored = busy_desk.run("send", event, "--set", "data.modelTags.stage=x", "--url", host.url, "--wait")
        assert (ignored.code, ignored.rows[0][1:3]) == (0, ["-", "ignored"])

    def test_an_event_that_cannot_be_read(self, busy_desk: Desk, host: RunningProcess) -> None:
        event = busy_desk.file('{"topic": "t", "id": "ü"}')
        for outcome in ("parked", "duplicate"):
            result = busy_desk.run("send", event, "--as-is", "--url", host.url, "--wait")
            assert result.rows[0][-3:-1] == ["$unrouted", outcome]
        (explained,) = busy_desk.run("explain", event, "--json").json
        assert explained["routes"][0]["journal"]["record"]["key"] == busy_desk.records[0].key.key

    def test_a_deferred_event_is_delivered_again(self, busy_desk: Desk, host: RunningProcess) -> None:
        busy_desk.plan(accept=False, status=429, headers={"Retry-After": "1"})
        result = busy_desk.run("send", "ModelDeployed", "--url", host.url, "--wait")
        assert (result.code, result.rows[0][1:3]) == (0, ["smoke-test-after-deployment", "queued"])
        assert len(busy_desk.runs) == 1

    def test_timeout(self, busy_desk: Desk, host: RunningProcess) -> None:
        busy_desk.plan(accept=False, status=429, headers={"Retry-After": "60"})
        at_once = busy_desk.run("send", "ModelDeployed", "--url", host.url)
        assert (at_once.code, at_once.rows[0][2]) == (1, "deferred")
        assert at_once.rows[0][3].startswith(f"to {host.url}: HTTP 500: ")
        waited = busy_desk.run("send", "ModelDeployed", "--url", host.url, "--wait", "--timeout", "1s")
        assert (waited.code, waited.rows[0][2]) == (1, State.RELEASED)
        assert waited.rows[0][3].startswith("still released: ")
        assert "; the last answer was HTTP 500: " in waited.rows[0][3]


class TestWhatTheJournalHolds:
    """The host accepts the events, and what its app would do is done by hand."""

    def test_a_record_that_cannot_be_read_does_not_stop_the_other_events(self, desk: Desk) -> None:
        for run_id in ("r1", "r2"):
            desk.deliver(run_completed(run_id))
        desk.settle()
        (bad,) = (one for one in desk.records if "r1" in one.entry.event)
        with closing(sqlite3.connect(desk.folder / "journal.sqlite3")) as connection, connection:
            connection.execute("UPDATE records SET document = '{}' WHERE key = ?", [bad.key.key])
            connection.execute("UPDATE records SET state = 'queued', run_id = 7 WHERE key <> ?", [bad.key.key])
        events = [desk.file(run_completed(run_id), f"{run_id}.json") for run_id in ("r1", "r2")]
        with answering((202, {}, "")) as odd:
            result = desk.run("send", *events, "--url", odd.url, "--wait")
        assert len(odd.asked) == 2
        (*_, first, words), second = result.rows
        assert (result.code, first, second[2:]) == (1, "unknown", ["duplicate", "already queued: run 7"])
        assert words.startswith(f"the event was sent, but the record {bad.key.key[:12]} of route evaluate cannot be re")
        assert words.endswith("repair or delete the record")

    def test_a_journal_that_stops_answering(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        """Before the first event, nothing is sent; later, the command tells what was sent."""
        desk.deliver()
        event = desk.file(run_completed())
        start, hours, find = utc_now(), count(), Installation.find_record
        desk.clock = lambda: start + timedelta(hours=next(hours))
        for answers, code, states in ((0, 2, []), (1, 1, ["unknown", "unknown"]), (2, 1, ["released", "unknown"])):
            asked = count()

            def look(self: Installation, key: JournalKey, last: int = answers, asked: Iterator[int] = asked) -> object:
                if next(asked) >= last:
                    raise JournalUnavailable("the journal is away")
                return find(self, key)

            monkeypatch.setattr(Installation, "find_record", look)
            with answering((202, {}, "")) as odd:
                result = desk.run("send", event, event, "--url", odd.url, "--wait")
            assert (result.code, len(odd.asked)) == (code, min(answers, 1))
            assert "the journal is away" in result.out + result.err
            assert [row[-2] for row in result.rows] == states

    def test_an_event_that_takes_the_key_of_a_parked_one(self, busy_desk: Desk, host: RunningProcess) -> None:
        event = busy_desk.file(sample_text("run-completed"))
        busy_desk.deliver(event.read_text())
        (record,) = busy_desk.records
        assert busy_desk.store.replace(record._replace(state=State.PARKED, run_id=None)) is not None
        result = busy_desk.run("send", event, "--url", host.url, "--wait")
        assert (result.code, result.rows[0][2]) == (0, "queued")
        assert f"; the parked event {record.entry.event_id} is kept under " in result.rows[0][3]
        again = busy_desk.run("send", event, "--url", host.url, "--wait")
        assert (again.code, again.rows[0][2]) == (0, "duplicate")


class TestAnAppWithOtherRoutes:
    """The app has started with another routes.yaml than the one that is here now. It parks or queues without a host."""

    TEST_ONLY = "\nwhen: experiment_name == 'test'"
    failures = 0
    """How many deliveries the app defers, before it handles one."""

    @pytest.fixture
    def started(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Callable[..., RouteTable]:
        def start(*routes: str) -> RouteTable:
            """Start the app with these routes. Each record that it makes is as after its run was queued."""
            desk.routes(*routes)
            configuration = load_configuration(desk.environment, desk.folder, NAMES)
            app = compose(configuration, DISPATCH, report=lambda _decision: None)
            announce(app.journal, configuration.routes)

            def notify(_self: Webhook, event: Document, deliveries: int) -> tuple[int, str]:
                if deliveries < self.failures:
                    return 500, ""
                with suppress(DeliveryDeferred):
                    app.relay.deliver(json.dumps(event))
                for one in desk.records:
                    if one.state is State.RELEASED:
                        assert desk.store.replace(one._replace(state=State.QUEUED, run_id=7, reason="")) is not None
                return 202, ""

            monkeypatch.setattr(Webhook, "notify", notify)
            monkeypatch.setattr(delivery, "JUST_STARTED", timedelta(0))
            return configuration.routes

        return start

    def test_it_queues_a_run_for_an_event_that_the_routes_here_ignore(
        self, desk: Desk, started: Callable[..., RouteTable]
    ) -> None:
        theirs = started(RIGHT)
        desk.routes(RIGHT + self.TEST_ONLY, TRIAGE + self.TEST_ONLY)
        result = desk.run("send", "RunCompleted", "--wait")
        assert (result.code, result.rows[0][1:]) == (0, ["evaluate", "queued", "run 7"])
        assert result.err.startswith(
            f"the app runs an older routes.yaml (digest {theirs.digest}, 1 route) than this one ("
        )
        assert result.err.endswith(f", 2 routes); {ADVICE}\n")

    def test_it_ignores_an_event_that_the_routes_here_ignore_too(
        self, desk: Desk, started: Callable[..., RouteTable]
    ) -> None:
        started(RIGHT + self.TEST_ONLY)
        ignored = desk.run("send", "RunCompleted", "--wait")
        assert (ignored.code, ignored.rows[0][1:3], ignored.err) == (0, ["-", "ignored"], "")
        desk.routes(TRIAGE + self.TEST_ONLY)
        unknown = desk.run("send", "RunCompleted", "--wait")
        assert (unknown.code, unknown.rows[0][1:3]) == (1, ["-", "unknown"])

    def test_it_chooses_another_route(self, desk: Desk, started: Callable[..., RouteTable]) -> None:
        started(RIGHT)
        desk.routes(TRIAGE)
        result = desk.run("send", "RunCompleted", "--wait", "--timeout", "1h")
        assert [row[1:3] for row in result.rows] == [["triage", "nothing"], ["evaluate", "queued"]]
        assert (result.code, "an older routes.yaml" in result.err) == (1, True)

    def test_it_also_has_a_route_that_is_not_here(self, desk: Desk, started: Callable[..., RouteTable]) -> None:
        started(RIGHT, TRIAGE)
        desk.routes(TRIAGE)
        result = desk.run("send", "RunCompleted", "--wait")
        assert (result.code, [row[1:3] for row in result.rows]) == (0, [["triage", "queued"], ["evaluate", "queued"]])

    def test_it_defers_an_event_that_the_routes_here_ignore(
        self, desk: Desk, started: Callable[..., RouteTable]
    ) -> None:
        started(RIGHT)
        desk.routes(RIGHT + self.TEST_ONLY)
        self.failures = 1
        result = desk.run("send", "RunCompleted", "--wait")
        assert (result.code, [row[1:3] for row in result.rows]) == (0, [["evaluate", "queued"]])

    def test_it_has_handled_an_event_that_the_routes_here_ignore(
        self, desk: Desk, started: Callable[..., RouteTable]
    ) -> None:
        started(RIGHT)
        desk.routes(RIGHT + self.TEST_ONLY)
        event = desk.file(run_completed())
        for outcome in ("queued", "duplicate"):
            result = desk.run("send", event, "--as-is", "--wait")
            assert (result.code, [row[1:3] for row in result.rows]) == (0, [["evaluate", outcome]])

    def test_it_identifies_the_occurrence_otherwise(self, desk: Desk, started: Callable[..., RouteTable]) -> None:
        started(RIGHT + "\nonce_per: '{{ event.id }}'")
        desk.routes(RIGHT)
        result = desk.run("send", "RunCompleted", "--wait", "--timeout", "1h")
        assert (result.code, [row[1:3] for row in result.rows]) == (0, [["evaluate", "queued"]])

    def test_an_app_of_an_earlier_version_says_nothing(self, desk: Desk, started: Callable[..., RouteTable]) -> None:
        started(RIGHT)
        (note,) = desk.store.select(Selection(RUNNING_ROUTES), 2)
        assert desk.store.delete(note)
        desk.routes(RIGHT + self.TEST_ONLY)
        result = desk.run("send", "RunCompleted", "--wait")
        assert (result.code, result.rows[0][1:3], result.err) == (0, ["evaluate", "queued"], "")

    def test_the_emulator_is_named_if_it_does_not_run(self, desk: Desk, started: Callable[..., RouteTable]) -> None:
        started(RIGHT)
        desk.run("send", "RunCompleted", "--wait")
        (record,) = (one for one in desk.records if one.key.is_about_event)
        released = record._replace(state=State.RELEASED, run_id=None, reason="no connection: refused")
        assert delivery.next_step(delivery.Row("evaluate", "released", "", released)).startswith("run 'make ado'")
        others = (
            released._replace(reason="HTTP 429"),
            released._replace(entry=released.entry._replace(request="{cut")),
            released._replace(state=State.QUEUED),
        )
        assert [delivery.next_step(delivery.Row("evaluate", "", "", other)) for other in (*others, None)] == [""] * 4

    def test_an_app_that_has_just_started_says_so_a_moment_later(
        self, desk: Desk, started: Callable[..., RouteTable], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        theirs = started(RIGHT)
        announce(Journal(desk.store), RouteTable([], "0" * 8))
        monkeypatch.setattr(delivery, "JUST_STARTED", timedelta(seconds=60))
        monkeypatch.setattr("time.sleep", lambda _seconds: announce(Journal(desk.store), theirs))
        result = desk.run("send", "RunCompleted", "--wait")
        assert (result.code, result.rows[0][1:], result.err) == (0, ["evaluate", "queued", "run 7"], "")

    def test_a_newer_one(self, desk: Desk, started: Callable[..., RouteTable]) -> None:
        started(RIGHT)
        desk.routes(TRIAGE)
        os.utime(desk.folder / "routes.yaml", (0, 0))
        assert desk.run("send", "RunCompleted", "--wait").err.startswith("the app runs another routes.yaml (digest ")


class TestOtherHosts:
    def test_the_requests(self, desk: Desk) -> None:
        with answering((202, {}, "")) as odd:
            desk.settings = {"EVENTGRID_EXTENSION_KEY": secret("host-key")}
            assert desk.run("send", "RunCompleted", "--url", odd.url).code == 0
            assert desk.run("send", "RunCompleted", "--url", odd.url, "--schema", "cloud").code == 0
        (method, path, headers, body), (*_, cloud_headers, cloud_body) = odd.asked
        assert (method, path) == ("POST", "/runtime/webhooks/eventgrid?functionName=aml_event")
        assert headers["aeg-event-type"] == "Notification"
        assert headers["x-functions-key"] == secret("host-key")
        assert headers["Content-Type"] == "application/json; charset=utf-8"
        assert [event["eventType"] for event in body] == ["Microsoft.MachineLearningServices.RunCompleted"]
        assert cloud_headers["Content-Type"] == "application/cloudevents+json; charset=utf-8"
        assert cloud_body["specversion"] == "1.0"

    @pytest.mark.parametrize(
        ("status", "words"),
        [
            (401, "set EVENTGRID_EXTENSION_KEY to the app's system key eventgrid_extension"),
            (403, "set EVENTGRID_EXTENSION_KEY to the app's system key eventgrid_extension"),
            (302, "check that this is the function app"),
        ],
    )
    def test_a_refusal(self, desk: Desk, status: int, words: str) -> None:
        """Redirects are not followed."""
        with answering((status, {"Location": "/elsewhere"}, "")) as odd:
            desk.fails(1, f"HTTP {status}; {words}", "send", "RunCompleted", "--url", odd.url, "--key", secret("wrong"))
        assert len(odd.asked) == 1

    def test_the_address_that_azure_shows(self, desk: Desk) -> None:
        with answering((202, {}, "")) as odd:
            url = f"{odd.url}/runtime/webhooks/EventGrid?functionName=other&code={secret('code')}"
            result = desk.run("send", "RunCompleted", "--url", url)
        assert result.rows[0][3] == f"to {odd.url}: HTTP 202"
        assert odd.asked[0][1].endswith("?functionName=other")
        assert odd.asked[0][2]["x-functions-key"] == secret("code")

    def test_a_proxy_that_is_not_a_url_is_not_shown(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:{secret('pw')}@")
        message = "HTTPS_PROXY, HTTP_PROXY or ALL_PROXY must be the URL of a proxy, such as http://proxy.example:3128"
        desk.fails(1, message, "send", "RunCompleted", "--url", "https://app.example")

    def test_a_failing_host_for_an_event_that_no_route_matches(self, desk: Desk) -> None:
        desk.routes(WRONG + "\nenabled: false")
        with answering((500, {}, "out\n of order")) as odd:
            result = desk.run("send", "RunCompleted", "--url", odd.url, "--wait", "--timeout", "1s")
        assert (result.code, result.rows[0][2:]) == (1, ["deferred", f"to {odd.url}: HTTP 500: out of order"])

    def test_deliveries_are_counted(self, desk: Desk) -> None:
        start, seconds = utc_now(), count()
        desk.clock = lambda: start + timedelta(seconds=next(seconds))
        with answering((500, {}, ""), (500, {}, ""), (202, {}, "")) as odd:
            result = desk.run("send", "RunCompleted", "--url", odd.url, "--wait", "--timeout", "4s")
        assert [headers["aeg-delivery-count"] for _, _, headers, _ in odd.asked] == ["0", "1", "2"]
        assert (result.code, result.rows[0][1:3]) == (1, ["evaluate", "nothing"])


class TestUsage:
    def test_a_dry_run_shows_the_event(self, desk: Desk) -> None:
        def shown(*arguments: object) -> dict[str, Any]:
            (event,) = desk.run("send", *arguments, "--dry-run").json
            return dict(event)

        event = shown("RunCompleted", "--set", "subject=s", "--set", "data.runTags.n=7", "--schema", "cloud")
        assert (event["subject"], event["data"]["runTags"], event["specversion"]) == ("s", {"n": 7}, "1.0")
        original, path = json.loads(run_completed()), desk.file(run_completed())
        assert shown(path, "--as-is") == original
        fresh = shown(path)
        assert {key for key in original if fresh[key] != original[key]} == {"id", "eventTime"}
        assert shown("RunCompleted", "--as-is")["data"]["runId"] == "sample_run_00000001"


class TestHandshake:
    GOOD = (200, {"Content-Type": "application/json"}, '{"validationResponse": "CODE"}')
    ALLOWED = (200, {"WebHook-Allowed-Origin": "eventgrid.azure.net"}, "")

    def test_both_schemas(self) -> None:
        with answering(self.GOOD, self.ALLOWED) as odd:
            webhook(odd.url, "aml_event", "").shake_hands()
        (method, _, headers, (event,)), (second, _, second_headers, _) = odd.asked
        assert (method, headers["aeg-event-type"]) == ("POST", "SubscriptionValidation")
        assert event["eventType"] == "Microsoft.EventGrid.SubscriptionValidationEvent"
        assert (second, second_headers["WebHook-Request-Origin"]) == ("OPTIONS", "eventgrid.azure.net")
        assert "x-functions-key" not in headers

    @pytest.mark.parametrize(
        ("answers", "words"),
        [
            ([(401, {}, "")], "answered HTTP 401 to the validation event; set EVENTGRID_EXTENSION_KEY"),
            ([(418, {}, "")], "answered HTTP 418 to the validation event; check that this is the function app"),
            *(
                ([(200, {}, text)], "answered the validation event without its code")
                for text in ("hello", "[]", '{"validationResponse": "other"}')
            ),
            ([GOOD, (200, {}, "")], "does not let Event Grid send CloudEvents"),
            ([GOOD, (405, {"WebHook-Allowed-Origin": "*"}, "")], "does not let Event Grid send CloudEvents"),
        ],
    )
    def test_answers_that_event_grid_would_refuse(self, answers: list[Answer], words: str) -> None:
        with answering(*answers) as odd, pytest.raises(HandshakeFailed, match=words):
            webhook(odd.url, "aml_event", "").shake_hands()

    def test_without_an_answer_the_key_is_not_shown(self, desk: Desk) -> None:
        endpoint = webhook("http://127.0.0.1:9", "aml_event", secret("key"))
        with pytest.raises(HostUnreachable) as caught:
            endpoint.shake_hands()
        assert leaks(repr(endpoint) + str(caught.value)) == []
        message = "no answer from http://127.0.0.1:9: ConnectionRefusedError: [Errno 111] Connection refused; start"
        desk.fails(1, message, "send", "RunCompleted", "--url", "http://127.0.0.1:9")
