"""Tests that a new event type needs only its module and one line in handlers/__init__.py."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from devstack.ado import Emulator, load_declaration, serve
from devstack.processes import start
from tests.support import ROOT
from tests.support.canaries import secret
from tests.support.services.host_apps import app_settings

JOB_PAUSED = '''
"""JobPaused: a job has been paused."""

from shared.events.event import AmlEvent, Occurrence
from shared.events.event_type import EventType, Name, Names, Sample


def _meaning(event: AmlEvent, names: Names) -> Occurrence:
    return Occurrence(identity=names["job_name"], names=names | {"is_long": names["minutes"] > 60})


def _sample(number: int) -> Sample:
    return f"jobs/{number}", {"JobName": f"job-{number}", "Minutes": 90}


EVENT_TYPE = EventType(
    "JobPaused",
    names={
        "job_name": Name("string", "jobName"),
        "minutes": Name("number", "minutes"),
        "is_long": Name("boolean"),
    },
    identified_by="the job's name",
    meaning=_meaning,
    sample=_sample,
)
'''

ROUTES = """
version: 1
defaults: { organization_url: "${AZURE_DEVOPS_ORG_URL}", project: mlops, branch: main }
routes:
  - name: look-after-paused-jobs
    event: JobPaused
    when: is_long && minutes > `60`
    pipeline: triage
    parameters: { runId: "{{ data.jobName }}", runStatus: Failed }
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with one more event type."""
    copy = tmp_path_factory.mktemp("project")
    for folder in ("handlers", "shared", "tools", "devstack", "docs"):
        ignored = shutil.ignore_patterns("__pycache__", "node_modules")
        shutil.copytree(ROOT / folder, copy / folder, ignore=ignored)
    for file in ("function_app.py", "host.json", "manage.py", "routes.yaml", "routes.schema.json", "test.http"):
        shutil.copy(ROOT / file, copy)
    (copy / "handlers" / "job_paused.py").write_text(JOB_PAUSED)
    table = copy / "handlers" / "__init__.py"
    text = table.read_text().replace("import (", "import (\n    job_paused,")
    table.write_text(text.replace("_MODULES = (", "_MODULES = (job_paused, "))
    return copy


@pytest.fixture
def environment(project: Path) -> Iterator[Mapping[str, str]]:
    (project / "routes.yaml").write_text(ROUTES)
    with serve(Emulator(load_declaration(), pats={secret("pat")})) as ado:
        yield app_settings(ado.organization_url, f"sqlite:{project / 'journal.sqlite3'}")


def python(project: Path, *arguments: str, **environment: str) -> tuple[int, str]:
    command, known = [sys.executable, *arguments], {**os.environ, **environment}
    ended = subprocess.run(command, cwd=project, env=known, capture_output=True, text=True, check=False)
    return ended.returncode, ended.stdout + ended.stderr


def test_the_generated_files_contain_it(project: Path) -> None:
    assert python(project, "-m", "tools.event_files") == (0, "")
    assert "| `JobPaused` | `job_name` `minutes` (number) `is_long` (boolean) | the job's name |" in (
        project / "docs" / "routes.md"
    ).read_text(encoding="utf-8")
    assert '"JobPaused"' in (project / "routes.schema.json").read_text()
    for name, type_key in (("job-paused", "eventType"), ("job-paused.cloud", "type")):
        event = json.loads((project / "devstack" / "events" / f"{name}.json").read_text())
        assert event[type_key] == "Microsoft.MachineLearningServices.JobPaused"
        assert f"devstack/events/{name}.json\n" in (project / "test.http").read_text(encoding="utf-8")


def test_check_knows_its_names_and_keys(project: Path, environment: Mapping[str, str]) -> None:
    assert python(project, "manage.py", "check", "--strict", **environment)[0] == 0
    route = ROUTES.partition("routes:\n")[2]
    for number, when in enumerate(("is_lnog", "minutes == 'many'")):
        with (project / "routes.yaml").open("a") as table:
            table.write(route.replace("is_long && minutes > `60`", when).replace("name: ", f"name: {number}-"))
    code, output = python(project, "manage.py", "check", **environment)
    assert code == 1
    for words in ("did you mean 'is_long'", "minutes is a number"):
        assert words in output


def test_its_sample_is_sent_and_queues_a_run(project: Path, environment: Mapping[str, str], tmp_path: Path) -> None:
    with start(
        "devstack.host", "--app-dir", str(project), env=environment, cwd=project, log=tmp_path / "host.log"
    ) as host:
        code, output = python(project, "manage.py", "send", "JobPaused", "--wait", "--url", host.url, **environment)
    assert (code, "queued" in output) == (0, True), output
