"""``manage.py redrive --dead-letters``: the events that Event Grid gave up, in files, folders and blob containers."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from azure.core.exceptions import ClientAuthenticationError
from werkzeug.wrappers import Response

from devstack.events import sample_text
from shared.journal.records import UNROUTED, State
from tests.support.builders import cloud_event_text, run_completed
from tests.support.canaries import secret
from tests.support.journal.stores import no_identity
from tests.support.services.blob_service import SIGNATURE, BlobService, serving
from tests.tools.conftest import RIGHT, TRIAGE, Desk, Result
from tools.errors import CommandFailed, UnreadableFile
from tools.events.dead_letter_blobs import BlobAccess, BlobPlace, blob_place, blobs
from tools.events.dead_letters import DeadLetter, read_dead_letters

EVENT_GRID = {
    "deadLetterReason": "MaxDeliveryAttemptsExceeded",
    "deliveryAttempts": 30,
    "lastDeliveryOutcome": "GenericError",
    "publishTime": "2026-11-19T10:00:00.0265758Z",
    "lastDeliveryAttemptTime": "2026-11-20T10:00:00.0465788Z",
}
CLOUD = {"deadletterreason": "TimeToLiveExceeded", "deliveryattempts": 9, "lastdeliveryoutcome": "TimedOut"}


def eg(run_id: str) -> dict[str, Any]:
    return {**json.loads(run_completed(run_id)), "id": f"id-{run_id}", **EVENT_GRID}


def cloud(run_id: str) -> dict[str, Any]:
    text = cloud_event_text("RunCompleted", {"experimentName": "train", "runId": run_id})
    return {**json.loads(text), "id": f"id-{run_id}", **CLOUD}


@pytest.fixture
def letters(tmp_path: Path) -> Path:
    """A folder with events in both schemas, in Event Grid's layout."""
    folder = tmp_path / "letters"
    for name, content in {
        "SUB/2026/11/20/10/a.json": [eg("a"), eg("b")],
        "SUB/2026/11/20/11/c.json": [cloud("c")],
    }.items():
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(json.dumps(content))
    (folder / "notes.txt").write_text("not for us")
    return folder


class TestFiles:
    def test_a_folder_with_both_schemas(self, busy_desk: Desk, letters: Path) -> None:
        dry_run = busy_desk.run("redrive", "--dead-letters", letters, "--dry-run")
        assert (dry_run.code, [row[4] for row in dry_run.rows[:-1]]) == (0, ["would queue"] * 3)
        assert not (busy_desk.folder / "journal.sqlite3").exists()
        assert busy_desk.runs == []

        result = busy_desk.process("redrive", "--dead-letters", letters)
        assert (result.code, result.err) == (0, "")
        first = "SUB/2026/11/20/10/a.json"
        assert [row[:5] for row in result.rows[:-1]] == [
            [first, "id-a", "MaxDeliveryAttemptsExceeded (GenericError)", "evaluate", "queued"],
            [first, "id-b", "MaxDeliveryAttemptsExceeded (GenericError)", "evaluate", "queued"],
            ["SUB/2026/11/20/11/c.json", "id-c", "TimeToLiveExceeded (TimedOut)", "evaluate", "queued"],
        ]
        assert result.rows[-1] == ["3 events: 3 queued"]

        for options in ([], ["--dry-run"]):
            again = busy_desk.run("redrive", "--dead-letters", letters, *options)
            assert (again.code, [row[4] for row in again.rows[:-1]]) == (0, ["duplicate"] * 3)
        assert sorted(run["templateParameters"]["runId"] for run in busy_desk.runs) == ["a", "b", "c"]

    def test_the_fields_that_event_grid_adds_do_not_change_the_key(self, desk: Desk) -> None:
        for name, fields in (("run-completed", EVENT_GRID), ("run-completed.cloud", CLOUD)):
            desk.deliver(sample_text(name))
            desk.file(json.dumps([json.loads(sample_text(name)) | fields]))
            before = {record.key for record in desk.records}
            desk.run("redrive", "--dead-letters", "event.json")
            assert {record.key for record in desk.records} == before

    def test_a_run_in_doubt_is_searched_for(self, busy_desk: Desk) -> None:
        busy_desk.plan(accept=True, drop=True)
        busy_desk.deliver(run_completed("a"))
        busy_desk.settle()
        busy_desk.file(json.dumps([eg("a")]))
        for options, outcome in ((["--dry-run"], "would look"), ([], "queued")):
            result = busy_desk.run("redrive", "--dead-letters", "event.json", *options)
            assert (result.code, result.rows[0][:2], result.rows[0][4]) == (0, ["event.json", "id-a"], outcome)
        assert len(busy_desk.runs) == 1

    def test_each_route_has_a_row_even_if_one_is_deferred(self, busy_desk: Desk) -> None:
        busy_desk.routes(RIGHT, TRIAGE)
        busy_desk.plan(accept=False, status=429, headers={"Retry-After": "1"}, match={"path": "/pipelines/15/runs"})
        busy_desk.file(json.dumps(eg("a")))
        result = busy_desk.run("redrive", "--dead-letters", "event.json")
        assert [row[3:5] for row in result.rows[:-1]] == [["evaluate", "queued"], ["triage", "deferred"]]
        assert (result.code, result.rows[-1]) == (1, ["1 event: 1 deferred, 1 queued"])

    def test_foreign_and_unreadable_events(self, desk: Desk) -> None:
        foreign = {"id": "blob", "topic": "t", "eventType": "Microsoft.KeyVault.SecretExpired", "data": {}}
        desk.file(json.dumps([foreign, {"id": "half", "subject": "s"}, "a string", eg("a;b")]))
        dry_run, result, again = (
            desk.run("redrive", "--dead-letters", "event.json", *options) for options in (["--dry-run"], [], [])
        )
        assert (dry_run.code, [row[1:5] for row in dry_run.rows[:-1]]) == (
            1,
            [
                ["blob", "-", "-", "would ignore"],
                ["half", "-", UNROUTED, "would park"],
                ["-", "-", UNROUTED, "would park"],
                ["id-a;b", "MaxDeliveryAttemptsExceeded (GenericError)", "evaluate", "would park"],
            ],
        )
        assert (result.code, [row[4] for row in result.rows[:-1]]) == (1, ["ignored", "parked", "parked", "parked"])
        assert result.rows[-1] == ["4 events: 1 ignored, 3 parked"]
        assert [record.state for record in desk.records] == [State.PARKED] * 3
        assert again.rows[-1] == ["4 events: 3 duplicate, 1 ignored"]
        assert again.rows[1][5].startswith("already parked: the event cannot be read")

    def test_an_unreadable_file_is_reported_and_the_others_are_processed(self, desk: Desk, letters: Path) -> None:
        (letters / "B.json").write_text('[{"id": "a"')
        (letters / "C.json").write_text("42")
        (letters / "D.json").write_bytes(b"\xff\xfe[]")
        (letters / "E.json").symlink_to(letters / "nowhere")
        (letters / "F.json").write_text("[" * 200_000)
        result = desk.run("redrive", "--dead-letters", letters, "--dry-run")
        problems = [
            "B.json is not JSON (Expecting",
            "C.json contains neither an event",
            "D.json is not JSON ('utf-8'",
            "E.json cannot be read (No such file",
            "F.json is nested too deeply",
        ]
        for line, problem in zip(result.err.splitlines(), problems, strict=True):
            assert line.startswith(f"manage.py: {problem}")
        assert (result.code, [row[4:5] for row in result.rows[:-1]]) == (1, [["would queue"]] * 3)

    def test_a_limit_and_an_empty_folder(self, desk: Desk, letters: Path) -> None:
        for limit in (1, 2, 3):
            result = desk.run("redrive", "--dead-letters", letters, "--dry-run", "--limit", limit)
            assert (len(result.rows), "were read" in result.err) == (limit + 1, limit < 3)
        (desk.folder / "empty").mkdir()
        assert desk.run("redrive", "--dead-letters", "empty") == Result(0, "no dead letters were found\n", "")

    def test_the_example_in_event_grids_documentation(self) -> None:
        example = {"id": "caee", "type": "foo", "deadletterreason": "Max", "lastdeliveryoutcome": "NotFound"}
        found = read_dead_letters("x.json", b"\xef\xbb\xbf" + json.dumps([example]).encode())
        assert found == [DeadLetter("x.json", "caee", "Max (NotFound)", json.dumps(example))]


@pytest.fixture
def service() -> Iterator[BlobService]:
    stored = {
        "SUB/2026/11/20/10/a.json": json.dumps([eg("a"), eg("b")]).encode(),
        "SUB/2026/11/20/11/ü c.json": json.dumps([cloud("c")]).encode(),
        "SUB/2026/11/21/10/d.json": json.dumps([eg("d")]).encode(),
        "SUB/notes.txt": b"not for us",
    }
    with serving(BlobService(stored)) as running:
        yield running


class TestBlobs:
    def test_with_a_signature_in_the_url(self, busy_desk: Desk, service: BlobService) -> None:
        result = busy_desk.process("redrive", "--dead-letters", service.signed_url)
        assert (result.code, result.err) == (0, "")
        assert [row[:2] for row in result.rows[:-1]] == [
            ["SUB/2026/11/20/10/a.json", "id-a"],
            ["SUB/2026/11/20/10/a.json", "id-b"],
            ["SUB/2026/11/20/11/ü c.json", "id-c"],
            ["SUB/2026/11/21/10/d.json", "id-d"],
        ]
        assert len(busy_desk.runs) == 4
        assert service.requests.count("list") == 2, "page after page"

    @pytest.mark.parametrize(("name", "prefix", "ids"), [(None, "", "abcd"), ("MINE", "/SUB/2026/11/21", "d")])
    def test_with_a_connection_string(
        self, desk: Desk, service: BlobService, name: str | None, prefix: str, ids: str
    ) -> None:
        desk.settings = {name or "AZURE_STORAGE_CONNECTION_STRING": service.connection_string}
        options = [] if name is None else ["--connection-string-env", name]
        result = desk.run("redrive", "--dead-letters", service.url + prefix, "--dry-run", *options)
        assert (result.code, [row[1] for row in result.rows[:-1]]) == (0, [f"id-{each}" for each in ids])

    def test_an_unreadable_blob_is_reported_and_the_others_are_processed(
        self, desk: Desk, service: BlobService
    ) -> None:
        service.blobs["A.json"] = b""
        service.failing = {"SUB/2026/11/20/10/a.json": 409, "SUB/2026/11/21/10/d.json": 404}
        desk.settings = {"AZURE_STORAGE_CONNECTION_STRING": service.connection_string}
        result = desk.run("redrive", "--dead-letters", service.url, "--dry-run")
        assert (result.code, [row[1] for row in result.rows[:-1]]) == (1, ["id-c"])
        problems = [
            "A.json is not JSON (Expecting value",
            "SUB/2026/11/20/10/a.json cannot be read: HTTP 409 InternalError; try again",
            "SUB/2026/11/21/10/d.json cannot be read: HTTP 404 InternalError; check",
        ]
        for line, problem in zip(result.err.splitlines(), problems, strict=True):
            assert line.startswith(f"manage.py: {problem}")

    def test_a_malformed_and_a_lost_answer(self, service: BlobService, monkeypatch: pytest.MonkeyPatch) -> None:
        def break_off(*arguments: object) -> NoReturn:
            raise ConnectionResetError

        monkeypatch.setattr("tools.events.dead_letter_blobs._OPTIONS", {"retry_total": 0})
        place, access = blob_place(service.url), BlobAccess(no_identity, service.connection_string)
        (name, read), *_ = blobs(place, access)
        assert name == "SUB/2026/11/20/10/a.json"
        monkeypatch.setattr(service, "answer", lambda _: Response("<html>", mimetype="text/html"))
        with pytest.raises(UnreadableFile, match="the answer is not that of a storage account"):
            read()
        monkeypatch.setattr(service, "answer", break_off)
        with pytest.raises(CommandFailed, match=r"the answer was lost \(ServiceResponseError\); try again"):
            list(blobs(place, access))

    @pytest.mark.parametrize(
        ("change", "why"),
        [
            ((SIGNATURE, secret("other")), "HTTP 403 AuthenticationFailed; use an identity with the role Storage Blob"),
            (("dead-letters", "other"), "HTTP 404 ContainerNotFound; check the URL"),
            ((r"127\.0\.0\.1:\d+/", "127.0.0.1:9/"), "no connection to the storage account"),
        ],
    )
    def test_a_container_that_cannot_be_listed(
        self, desk: Desk, service: BlobService, change: tuple[str, str], why: str
    ) -> None:
        """The library's own message for an unreachable service contains the URL with its signature."""
        url = re.sub(*change, service.signed_url)
        message = f"the container {url.partition('?')[0]} cannot be listed: {why}"
        desk.process("redrive", "--dead-letters", url).fails(2, message)

    def test_a_connection_string_of_another_account(self, desk: Desk, service: BlobService) -> None:
        url = service.url.replace("devaccount", "other")
        desk.settings = {"MINE": service.connection_string}
        message = "the connection string must be that of http://127.0.0.1"
        desk.fails(2, message, "redrive", "--dead-letters", url, "--connection-string-env", "MINE")
        desk.settings = {"AZURE_STORAGE_CONNECTION_STRING": service.connection_string}
        message = "needs a signature or a connection string; tokens require https://"
        desk.fails(2, message, "redrive", "--dead-letters", url)
        assert service.requests == []

    def test_signed_out(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("tools.events.dead_letter_blobs._OPTIONS", {"retry_total": 0})
        requested: set[str] = set()

        class SignedOut:
            def get_token(self, *scopes: str, **options: Any) -> NoReturn:
                requested.update(scopes)
                raise ClientAuthenticationError("not signed in: canary")

        place = blob_place("https://account.blob.core.windows.net/letters")
        with pytest.raises(CommandFailed, match="Microsoft Entra issued no token; sign in with 'az login'") as caught:
            list(blobs(place, BlobAccess(SignedOut)))
        assert requested == {"https://storage.azure.com/.default"}
        assert "canary" not in str(caught.value)


class TestBlobPlace:
    @pytest.mark.parametrize(
        ("url", "place"),
        [
            ("https://a.blob.core.windows.net/c", BlobPlace("https://a.blob.core.windows.net", "c")),
            ("HTTPS://a.blob.core.windows.net/c/", BlobPlace("https://a.blob.core.windows.net", "c")),
            ("https://a.blob.core.windows.net/c/p/q%20r", BlobPlace("https://a.blob.core.windows.net", "c", "p/q r")),
            ("https://a.b.net/c?sv=1&sig=canary", BlobPlace("https://a.b.net", "c", "", "sv=1&sig=canary")),
            ("http://127.0.0.1:10000/dev/c/p", BlobPlace("http://127.0.0.1:10000/dev", "c", "p")),
            ("http://localhost:10000/dev/c", BlobPlace("http://localhost:10000/dev", "c")),
            ("http://[::1]:10000/dev/c", BlobPlace("http://[::1]:10000/dev", "c")),
        ],
    )
    def test_valid_urls(self, url: str, place: BlobPlace) -> None:
        assert blob_place(url) == place

    @pytest.mark.parametrize(
        "url",
        [
            "https://",
            "http://a.blob.core.windows.net/c?sig=canary",
            "https://canary:canary@a.blob.core.windows.net/c",
            "https://a.blob.core.windows.net/",
            "https://a.blob.core.windows.net/?sig=canary",
            "http://127.0.0.1:10000/dev",
            "http://127.0.0.1:10000/",
            "https://a.blob.core.windows.net/c?sv=canary",
            "https://[canary/c",
            "https://a.blob.core.windows.net:canary/c",
        ],
    )
    def test_an_invalid_url_is_not_quoted(self, url: str) -> None:
        with pytest.raises(CommandFailed) as caught:
            blob_place(url)
        assert "canary" not in str(caught.value)

    def test_a_signature_is_never_shown(self) -> None:
        place = blob_place("https://a.b.net/c/p?sig=canary")
        assert "canary" not in repr(place) + place.shown + repr(BlobAccess(no_identity, "canary"))
