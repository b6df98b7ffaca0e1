"""The registry of journal backends: a new backend takes one row, and unused backends are not imported."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from shared.journal.backends import BACKENDS
from tests.support import ROOT
from tests.support.builders import ENVIRONMENT

TOY = """
from pathlib import Path

from shared.clock import utc_now
from shared.journal.backend import Backend
from shared.journal.sqlite import SqliteStore


class ToyBackend(Backend):
    def problem(self, connection):
        return None if connection.endswith(".toy") else "is not a toy; write toy:PATH.toy"

    def place(self, connection):
        return "in the toy box"

    def open(self, connection, make_identity, connections, clock=utc_now):
        return SqliteStore(Path(connection.removeprefix("toy:")))


BACKEND = ToyBackend()
"""
ROW = '    Row("Toy", "toy:", "shared.journal.toy"),\n'
DELIVER = """
import os, pathlib
from handlers import DISPATCH, NAMES
from shared.composition import compose, load_configuration

app = compose(load_configuration(os.environ, pathlib.Path.cwd(), NAMES), DISPATCH)
print(app.relay.deliver("{nonsense").decisions[0].outcome)
"""


class Copy:
    """A copy of the project with an additional journal backend."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for name in ("shared", "handlers", "tools"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("manage.py", "function_app.py", "host.json", "routes.yaml"):
            shutil.copy(ROOT / name, folder)
        (folder / "shared/journal/toy.py").write_text(TOY)
        registry = folder / "shared/journal/backends.py"
        text = registry.read_text()
        registry.write_text(text.replace("BACKENDS: Final = (\n", "BACKENDS: Final = (\n" + ROW))

    def run(self, *arguments: str, journal: str) -> subprocess.CompletedProcess[str]:
        pat = {"AZURE_DEVOPS_AUTH": "pat", "AZURE_DEVOPS_EXT_PAT": "x", "AZURE_DEVOPS_ORG_URL": "http://127.0.0.1:9/o"}
        environment = {"PATH": os.environ["PATH"], **ENVIRONMENT, **pat, "JOURNAL_CONNECTION": journal}
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self._folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )


def test_a_new_backend_takes_a_module_and_one_row(tmp_path: Path) -> None:
    copy, journal = Copy(tmp_path), f"toy:{tmp_path / 'journal.toy'}"
    assert copy.run("-c", DELIVER, journal=journal).stdout == "parked\n"
    (record,) = json.loads(copy.run("manage.py", "journal", "--json", journal=journal).stdout)
    assert (record["route"], record["state"], record["event"]) == ("$unrouted", "parked", "{nonsense")
    findings = json.loads(copy.run("manage.py", "doctor", "--json", journal=journal).stdout)
    (finding,) = [finding for finding in findings if finding["check"] == "journal"]
    assert finding["detail"] == "in the toy box: a record was written, read and removed"
    wrong = copy.run("manage.py", "journal", journal="toy:x")
    assert "JOURNAL_CONNECTION is not a toy; write toy:PATH.toy" in wrong.stderr


@pytest.mark.parametrize(
    ("journal", "unused"),
    [
        ("sqlite:j.sqlite3", ("shared.journal.tables", "azure.data", "azure.core")),
        ("UseDevelopmentStorage=true", ("shared.journal.sqlite",)),
    ],
)
def test_the_modules_of_other_backends_are_not_imported(tmp_path: Path, journal: str, unused: tuple[str, ...]) -> None:
    program = (
        "import sys, pathlib; from shared.composition import open_store; from shared.settings import load_settings\n"
        f"open_store(load_settings({{'JOURNAL_CONNECTION': {journal!r}}}, pathlib.Path({str(tmp_path)!r})))\n"
        f"print([name for name in sys.modules if name.startswith({unused!r})])\n"
    )
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_every_backend_is_in_the_docs() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
    assert [row.name for row in BACKENDS if row.name not in text or row.prefix not in text] == []
