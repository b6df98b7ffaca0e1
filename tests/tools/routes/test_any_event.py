"""Routes for blobs and for events of any type: every command knows them."""

import json

import pytest

from tests.tools.conftest import Desk
from tools.events.samples import sample_files

BLOB_CREATED, LANDED = "Microsoft.Storage.BlobCreated", "com.example.orders.landed"
BLOBS = (
    *("new-route", "--event", BLOB_CREATED, "--pipeline", "retrain", "-p", "folder", "-p", "size"),
    *("--when", "container=training && starts_with(path, 'landing/') && extension == 'csv' && size > `0`"),
)
ORDERS = (
    *("new-route", "--event", LANDED, "--pipeline", "retrain", "-p", "data.batch"),
    *("--when", "data.region=west && data.orders > `1000`"),
)
BLOB_ROUTE = (
    f"name: blobs\nevent: {BLOB_CREATED}\npipeline: 7\nparameters: {{ p: '{{{{ container }}}}/{{{{ path }}}}' }}"
)


@pytest.mark.parametrize(
    ("arguments", "name", "parameters"),
    [
        (BLOBS, "retrain-on-blob-created", {"folder": "landing", "size": "524288"}),
        (ORDERS, "retrain-on-landed", {"batch": "sample"}),
    ],
)
def test_a_new_route_is_written_and_used(
    desk: Desk, arguments: tuple[str, ...], name: str, parameters: dict[str, str]
) -> None:
    desk.routes("name: evaluate\nevent: RunCompleted\npipeline: p")
    event = arguments[2]
    assert desk.run(*arguments).code == 0
    assert desk.run("check", "--strict").code == 0
    assert desk.run("test").out.startswith(f"ok      {name}\n")
    assert event in desk.run("graph").out
    assert event in desk.run("graph", "--format", "svg").out
    case = (desk.folder / "routes.test.yaml").read_text()
    assert f"sample: {event}" in case
    for parameter, value in parameters.items():
        assert f"{parameter}: {value}" in case.replace("'", "")
    (sent,) = desk.run("send", event, "--dry-run").json
    assert sent["eventType"] == event


def test_a_route_for_any_event_needs_a_full_type(desk: Desk) -> None:
    desk.routes("name: evaluate\nevent: RunCompleted\npipeline: p")
    desk.fails(2, "'landed' is not an event type", "new-route", "--event", "landed", "--pipeline", "p")
    result = desk.run("new-route", "--event", "nextstage.run.queued", "--pipeline", "p")
    assert (result.code, "is an event of nextstage" in result.err) == (2, True)


def explained(desk: Desk, sample: str) -> str:
    desk.routes(BLOB_ROUTE, f"name: orders\nevent: {LANDED}\npipeline: 8\nwhen: data.orders > `1000`")
    return desk.run("explain", desk.file(json.dumps(sample_files()[sample]))).out


def test_explain_shows_the_values_of_a_blob(desk: Desk) -> None:
    out = explained(desk, "blob-created")
    assert f"{BLOB_CREATED} " in out
    assert "training-data/landing/2026-11-20/part-" in out


def test_explain_says_why_a_blob_is_ignored_or_parked(desk: Desk) -> None:
    assert "nothing to do: the blob is empty and its name has no extension" in explained(desk, "blob-created-directory")
    assert "nothing to do: CreateFile reports a file that is not" in explained(desk, "blob-created-data-lake-open")
    assert "'$(' must never reach a pipeline" in explained(desk, "blob-created-unsafe-path")


def test_explain_shows_the_values_of_any_event(desk: Desk) -> None:
    out = explained(desk, "orders-landed.cloud")
    assert f"{LANDED} " in out
    assert "1200" in out
    assert "blobs (for Microsoft.Storage.BlobCreated)" in out


def test_the_journal_lists_them(desk: Desk) -> None:
    desk.routes(BLOB_ROUTE, f"name: orders\nevent: {LANDED}\npipeline: 8\nparameters: {{ p: '{{{{ data.nope }}}}' }}")
    for sample in ("blob-created-unsafe-path", "orders-landed.cloud"):
        desk.deliver(json.dumps(sample_files()[sample]))
    listed = desk.run("journal", "--json").json
    out = desk.run("journal").out
    assert len(listed) == 2
    for event in (BLOB_CREATED, LANDED):
        assert event in json.dumps(listed)
        assert event in out
