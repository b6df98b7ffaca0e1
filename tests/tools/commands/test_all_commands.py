"""What all commands have in common: exit codes, JSON, and output that fits the terminal."""

import re
import shlex
from datetime import timedelta

import pytest

from shared.clock import utc_now
from tests.support.builders import run_completed
from tests.support.waits import Scene, a_request
from tests.tools.conftest import RIGHT, TRIAGE, WRONG, Desk
from tools.commands import GROUPS

WITHOUT_JSON = {"completion", "connect", "disconnect", "new-route", "page", "schema"}
"""They print a script and a JSON document, report progress, write files that they then name, and open a page."""

CASE = "cases:\n  - name: one\n    given: {{sample: RunCompleted}}\n    expect: {{{}: {{pipeline: {}}}}}\n"


def prepare(desk: Desk, route: str = "evaluate") -> str:
    """Write files for the commands, and return the key of a parked record of this route."""
    desk.file(run_completed("run-2"))
    desk.file("{", "broken.json")
    desk.file(f"[{run_completed('run-3')}]", "letters/one.json")
    desk.file("{", "mixed/broken.json")
    desk.file(run_completed("run-4"), "mixed/event.json")
    desk.file("version: 1\nroutes: []\nrutes: []\n", "wrong.yaml")
    loop = TRIAGE + "\ncauses: [{event: RunCompleted}]"
    desk.file((desk.folder / "routes.yaml").read_text() + "  - " + loop.replace("\n", "\n    ") + "\n", "loop.yaml")
    routes = (desk.folder / "routes.yaml").read_text()
    desk.routes(RIGHT.replace("evaluate", route, 1).replace("run_id", "data.nope"))
    desk.deliver()
    (record,) = desk.records
    desk.file(routes, "routes.yaml")
    desk.file(run_completed("unsafe$(x)"), "unsafe.json")
    desk.file(CASE.format(route, "model-evaluation"), "routes.test.yaml")
    desk.file(CASE.format(route, "another-one"), "failing.yaml")
    return record.key.key[:12]


# fmt: off
EXIT_CODES = [
    ("check", 0), ("check wrong.yaml", 1), ("check nowhere.yaml", 2),
    ("completion bash", 0), ("completion tcsh", 2),
    ("doctor", 1), ("doctor --route evaluate", 2),
    ("explain event.json", 0), ("explain unsafe.json", 1), ("explain mixed", 1), ("explain broken.json", 2),
    ("explain nowhere.json", 2),
    ("graph", 0), ("graph loop.yaml --strict", 1), ("graph wrong.yaml", 2),
    ("journal", 0), ("journal show KEY", 0), ("journal list", 0), ("journal show ffff", 2), ("journal --state x", 2),
    ("page --port x", 2),
    ("preview --all --no-yaml", 1), ("preview broken.json", 2), ("preview", 2),
    ("redrive KEY --dry-run", 0), ("redrive --dead-letters mixed --dry-run", 1), ("redrive KEY", 1),
    ("redrive --dead-letters broken.json", 2), ("redrive", 2),
    ("resume", 0), ("resume --now", 2), ("resume KEY", 2),
    ("schema", 0), ("schema -o no/folder", 2),
    ("send event.json --dry-run", 0), ("send event.json --url http://127.0.0.1:9", 1), ("send broken.json", 2),
    ("test", 0), ("test failing.yaml", 1), ("test nowhere.yaml", 2),
    ("waits", 0), ("waits --nope", 2),
    ("new-route --event RunCompleted --pipeline report --dry-run", 0), ("new-route", 2),
]
# fmt: on


def test_exit_codes(desk: Desk) -> None:
    """One set of exit codes. A file that cannot be read is an error if there is no other one."""
    key = prepare(desk)
    codes = [(line, desk.run(*shlex.split(line.replace("KEY", key))).code) for line, _ in EXIT_CODES]
    assert codes == EXIT_CODES
    tested = {(line.split()[0], code) for line, code in EXIT_CODES}
    commands = [name for names in GROUPS.values() for name in names if name in {line for line, _ in tested}]
    untested = {(name, code) for name in commands for code in (0, 2)} - tested
    assert untested == {("doctor", 0), ("page", 0), ("preview", 0)}, "only these need Azure DevOps, or do not end"


OUTCOME = {"route", "outcome", "reason"}
RUN = {"run_id", "run_url"}
JSON_FIELDS = {
    "check": {"file", "errors", "warnings", "findings"},
    "doctor": {"check", "status", "detail", "next_step"},
    "explain event.json": {"file", "dead_letter_reason", "event", "why_nothing", "routes"},
    "graph": {"events", "routes", "loops"},
    "journal": {"key", "route", "state", "reason", "event_id", *RUN},
    "journal show KEY": {"key", "route", "state", "reason", "event_id", "redrive", *RUN},
    "preview --all": {"file", "event", "request", *OUTCOME},
    "redrive KEY --dry-run": {"record", "event_id", "key", *OUTCOME, *RUN},
    "redrive --dead-letters letters --dry-run": {"file", "dead_letter_reason", "event_id", "key", *OUTCOME, *RUN},
    "redrive --dead-letters empty": set(),
    "resume": set(),
    "send event.json --dry-run": {"id", "data"},
    "test": {"file", "cases"},
    "waits": set(),
}


def test_json(desk: Desk) -> None:
    """Every command that prints a result can print it as JSON, with the same names for the same things."""
    key = prepare(desk)
    (desk.folder / "empty").mkdir()
    for line, fields in JSON_FIELDS.items():
        document = desk.run(*shlex.split(line.replace("KEY", key)), "--json").json
        first = document if isinstance(document, dict) else document[0] if document else {}
        assert fields <= set(first), line
        assert bool(fields) == bool(first), line


@pytest.mark.parametrize("command", [name for names in GROUPS.values() for name in names])
def test_every_command_with_a_result_has_json(desk: Desk, command: str) -> None:
    result = desk.run(command, "--help")
    if result.code == 0:  # otherwise, there is no such command yet
        assert ("--json" in result.out) == (command not in WITHOUT_JSON)
        assert [line for line in result.out.splitlines() if len(line) > 80] == []


def test_a_redriven_record_and_its_run(busy_desk: Desk) -> None:
    busy_desk.routes(WRONG)
    busy_desk.deliver()
    busy_desk.routes(RIGHT)
    (record,) = busy_desk.records
    result = busy_desk.run("redrive", record.key.key, "--json")
    (stored,) = busy_desk.records
    assert (result.code, result.json) == (0, [{
        "record": record.key.key, "event_id": "event-1", "key": record.key.key, "route": "evaluate",
        "outcome": "queued", "reason": "", "run_id": 501, "run_url": stored.run_url,
    }])  # fmt: skip


LONG = "evaluate-the-model-after-each-training-of-the-fraud-detector"
LINES = [
    "--help", "journal --help", "check", "check wrong.yaml", "doctor", "explain event.json", "explain unsafe.json",
    "explain letters", "explain broken.json", "journal", "journal show KEY", "journal --orphans", "preview --all",
    "resume", "redrive KEY --dry-run", "redrive --all --dry-run", "redrive --dead-letters letters --dry-run",
    "send event.json --as-is --url http://127.0.0.1:9", "waits --all", "waits --nope", "test", "test failing.yaml",
    f"new-route --event RunCompleted --pipeline {LONG} --dry-run",
]  # fmt: skip
SLOW = {"doctor", "preview --all"}
"""They try several times to reach Azure DevOps."""
HELP = {"--help", "journal --help"}
"""Typer wraps help also for a pipe, to 50 to 80 columns."""


def test_output_fits_the_terminal(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines are broken only between words, so that each word is as in the output to a pipe: no name is cut."""
    now = utc_now()
    desk.clock = lambda: now + timedelta(hours=3)
    desk.routes(RIGHT.replace("evaluate", LONG, 1), TRIAGE + f"\nwhen: experiment_name == '{LONG}'")
    key = prepare(desk, LONG)
    scene = Scene(desk.store, lambda: now)
    scene.waits.register(a_request(run_id=f"{LONG}_run", workspace=None), now + timedelta(minutes=5))
    lines = [line.replace("KEY", key) for line in LINES]
    monkeypatch.setenv("COLUMNS", "20")
    piped = [desk.run(*shlex.split(line)) for line in lines]
    assert any(LONG in result.out for result in piped)
    for stream in ("stdout", "stderr"):
        monkeypatch.setattr(f"sys.{stream}.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    for columns in (40, 80, 200):
        monkeypatch.setenv("COLUMNS", str(columns))
        for line, expected in zip(lines, piped, strict=True):
            if line in SLOW and columns != 80:
                continue
            shown = desk.run(*shlex.split(line))
            texts = [re.sub(r"\x1b\[[\d;]*m", "", text) for text in (shown.out, shown.err)]
            too_long = [text for text in "\n".join(texts).splitlines() if len(text) > columns and " " in text.strip()]
            assert too_long == [] or (line in HELP and columns < 80), f"{line} at {columns} columns"
            if line not in HELP:
                assert _words(*texts) == _words(expected.out, expected.err), f"{line} at {columns} columns"


def _words(*texts: str) -> list[str]:
    """Return the sorted words, without digits: they differ from one run of a command to the next."""
    return sorted(re.sub(r"\d", "", " ".join(texts)).split())
