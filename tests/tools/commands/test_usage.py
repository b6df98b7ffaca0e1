"""Wrong usage of every command: exit code 2, no output, and one line that says what to do."""

import shlex

import pytest

from tests.support.builders import run_completed
from tests.tools.conftest import Desk

NO_KEY = "KEY must be at least the first 4 hexadecimal digits of a journal key"
ONE_OF = "redrive needs exactly one of KEY…, --route ROUTE, --all and --dead-letters PATH"
BLOBS = "redrive --dead-letters https://account.blob.core.windows.net/letters --connection-string-env"

# fmt: off
WRONG_USAGE = [
    ("check nowhere.yaml", "nowhere.yaml cannot be read (No such file or directory); name another file"),
    ("check binary.json", "binary.json is not UTF-8; save it as UTF-8, or name another file"),
    ("completion tcsh", "tcsh"),
    ("doctor --url http://app.example", "--url must be an https:// URL"),
    ("explain", "no event was given; name EVENT.json, or pass an event on standard input"),
    ("explain nowhere.json", "there is no file or folder nowhere.json"),
    ("explain event.json --route evaluat", "there is no route 'evaluat'; did you mean 'evaluate'?"),
    ("explain event.json --routes no.yaml", "the routes cannot be read:"),
    ("explain event.json --routes binary.json", "binary.json is not UTF-8; save it as UTF-8"),
    ("graph nowhere.yaml", "nowhere.yaml cannot be read (No such file or directory); name another file"),
    ("graph --format png", "Invalid value for '--format'"),
    ("journal --older-than soon", "--older-than"),
    ("journal --newer-than 0s", "--newer-than"),
    ("journal --state x", "--state"),
    ("journal --limit 0", "--limit"),
    ("journal --route evaluat", "there is no route 'evaluat'; did you mean 'evaluate'?"),
    ("journal --route evaluat --state queued --json", "there is no route 'evaluat'; did you mean 'evaluate'?"),
    ("journal --orphans --route evaluat", "there is no route 'evaluat'; did you mean 'evaluate'?"),
    ("journal show abc", NO_KEY),
    ("journal show https://x/?sig=canary", NO_KEY),
    ("journal show ffff", "no key begins with ffff; 'manage.py journal' lists the keys"),
    ("preview", "nothing to preview was given; name EVENT.json, '-' for standard input, or --all"),
    ("redrive", ONE_OF),
    ("redrive abcd --all", ONE_OF),
    ("redrive abcd --state parked", "--state needs --route or --all; a record selected by KEY is redriven in"),
    ("redrive --route evaluat", "there is no route 'evaluat'; did you mean 'evaluate'?"),
    ("redrive --all --state queued", "--state must be one of claimed, uncertain, released, parked, got queued"),
    ("redrive --all --without-looking", "--without-looking needs KEY; name each record that you have checked"),
    ("redrive --dead-letters nowhere.blob.core.windows.net/c?sig=canary",
     "there is no file or folder nowhere.blob.core.windows.net/c; for a blob container, use its https:// URL"),
    (f"{BLOBS} UNSET", "the environment variable UNSET is not set; set it to a connection string"),
    (f"{BLOBS} MINE", "the connection string must be that of a storage account; copy all of it"),
    ("schema -o no/such/folder.json", "no/such/folder.json cannot be written (No such file or directory); name"),
    ("test", "routes.test.yaml cannot be read ("),
    ("test /dev/zero", "/dev/zero cannot be read (File too large); name another file"),
    ("test --update nowhere.yaml", "nowhere.yaml cannot be read ("),
    ("test --routes no.yaml no.test.yaml", "no.test.yaml cannot be read ("),
    ("send", "Missing argument 'EVENT.json|TYPE'"),
    ("send RunComplete", "RunComplete is neither a file nor an event type; did you mean 'RunCompleted'?"),
    ("send numbers.json", "numbers.json contains an item that is not an event"),
    ("send nope.json", "nope.json cannot be read (No such file or directory); name a file"),
    ("send RunCompleted --set x", "must have the form PATH=VALUE, for example data.runId=x"),
    ("send RunCompleted --set subject.x=1", "--set subject.x: subject is not an object in the event"),
    ("send RunCompleted --schema xml", "Invalid value for '--schema'"),
    ("send RunCompleted --timeout soon", "--timeout"),
    ("send RunCompleted --url http://app.example", "--url must be an https:// URL"),
    ("send RunCompleted --url https://[app", "--url must be an https:// URL"),
    ("send RunCompleted --url https://u:p@app.example", "--url must be an https:// URL"),
    ("send RunCompleted --url https://app.example/api", "must be the address of a function app"),
    ("send RunCompleted --topic http://topic.example/api/events", "--topic must be an https:// URL"),
    ("send RunCompleted --topic https://t.example/api/events?key=canary", "--topic must not have a query"),
    ("send RunCompleted --topic https://t.example/api/events#canary", "--topic must not have a query"),
    ("send RunCompleted --topic https://u:canary@t.example/api/events", "--topic must be an https:// URL"),
    ("send RunCompleted --topic https://t.example/ --url http://127.0.0.1:1", "--url and --topic exclude each other"),
    ("send RunCompleted --topic https://t.example/ --key 'a\nb'", "the key contains invalid characters"),
]
# fmt: on


@pytest.mark.parametrize(("command", "message"), WRONG_USAGE)
def test_wrong_usage(desk: Desk, monkeypatch: pytest.MonkeyPatch, command: str, message: str) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    desk.park()
    desk.settings = {"MINE": "AccountKey=canary", "UNSET": ""}
    desk.file("[7]", "numbers.json")
    desk.file(run_completed())
    (desk.folder / "binary.json").write_bytes(b"\xff")
    desk.fails(2, message, *shlex.split(command))


@pytest.mark.parametrize(
    "command",
    ["graph", "preview --all", "test", "redrive --all", "redrive --all --dry-run", "send RunCompleted --wait"],
)
def test_broken_routes(desk: Desk, command: str) -> None:
    desk.park()
    desk.routes("name: a\nevent: RunComplete\npipeline: p")
    desk.file("cases: []", "routes.test.yaml")
    result = desk.run(*command.split())
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("manage.py: routes.yaml has 1 problem, so the app does not start:\n  routes.yaml:5:")


@pytest.mark.parametrize("command", ["preview --all", "redrive --all"])
def test_no_credential(desk: Desk, command: str) -> None:
    desk.park()
    desk.settings = {"AZURE_DEVOPS_EXT_PAT": ""}
    result = desk.run(*command.split())
    assert (result.code, result.out) == (2, "")
    assert "AZURE_DEVOPS_AUTH is 'pat', but no PAT is configured" in result.err
    assert desk.run("redrive", "--all", "--dry-run").code == 0, "a dry run needs no credential"
