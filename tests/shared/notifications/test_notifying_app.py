"""Tests of notifications in the whole app: in the stand-in host, at the end of a process, and their imports."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devstack.ado import Emulator
from devstack.events import sample_text
from shared.composition import reporter
from shared.journal.journal import Journal
from shared.journal.sqlite import SqliteStore
from shared.notifications.losses import journaled_losses
from shared.settings import load_settings
from shared.telemetry import Decision, Outcome
from tests.support import ROOT
from tests.support.builders import ENVIRONMENT, run_completed
from tests.support.canaries import secret
from tests.support.polling import wait_until
from tests.support.services.event_grid_topic import KEY, CustomTopic, serving_topic
from tests.support.services.host_apps import deliver, exported_log, serving_app

ROUTES = """
version: 1
defaults: {organization_url: "${AZURE_DEVOPS_ORG_URL}", project: mlops}
routes:
  - {name: evaluate, event: RunCompleted, pipeline: 7, parameters: {runId: "{{ run_id }}"}, tags: false}
"""

# A process that delivers events and then ends. A function stands in for Azure DevOps and numbers the runs.
PROGRAM = """
import json, sys
from itertools import count
from pathlib import Path
from handlers import DISPATCH, NAMES
from shared.composition import compose, load_configuration
from shared.http.message import HttpResponse

ids = count(100)
def azure_devops(request, authorization, timeout_seconds):
    return HttpResponse(200, {}, json.dumps({"id": next(ids)}).encode())

environment, app_dir, events = json.load(sys.stdin)
app = compose(load_configuration(environment, Path(app_dir), NAMES), DISPATCH, transport=azure_devops)
outcomes = [decision.outcome for event in events for decision in app.relay.deliver(event).decisions]
modules = [name for name in sys.modules if name.startswith("azure.")]
print(json.dumps([outcomes, modules]))
"""


@pytest.fixture
def topic() -> Iterator[CustomTopic]:
    with serving_topic(CustomTopic()) as topic:
        yield topic


@pytest.fixture
def app(topic: CustomTopic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Emulator]]:
    """The web hook of an app with a topic for notifications, and its Azure DevOps."""
    to_topic = {"NOTIFY_TOPIC_ENDPOINT": topic.url, "NOTIFY_TOPIC_KEY": KEY}
    with serving_app(tmp_path, monkeypatch, **to_topic) as app:
        yield app


class TestInTheHost:
    def test_a_queued_run_is_published_and_a_duplicate_is_not(
        self, app: tuple[str, Emulator], topic: CustomTopic
    ) -> None:
        url, emulator = app
        for name in ("run-completed", "run-completed", "model-registered"):
            assert deliver(url, sample_text(name)).status_code == 202
        event, other = topic.wait_for(2)
        run = emulator.books.runs[0]
        assert (event["type"], event["source"]) == ("nextstage.run.queued", "/nextstage/local")
        assert event["id"] == f"{event['data']['key']}:queued:{run.id}"
        assert (event["data"]["route"], event["data"]["run_id"]) == ("evaluate-after-training", run.id)
        assert event["data"]["run_url"].endswith(f"buildId={run.id}")
        assert other["data"]["route"] == "deploy-candidate"

    def test_parked_and_deferred_are_published(self, app: tuple[str, Emulator], topic: CustomTopic) -> None:
        url, emulator = app
        assert deliver(url, sample_text("model-registered-unsafe-version")).status_code == 202
        emulator.credentials.pats.clear()
        for _ in range(3):
            assert deliver(url, sample_text("run-completed")).status_code == 500
        parked, deferred = topic.wait_for(2)
        assert (parked["type"], deferred["type"]) == ("nextstage.event.parked", "nextstage.delivery.deferred")
        assert "must never reach a pipeline" in parked["data"]["reason"]
        assert "HTTP 203 asks to sign in" in deferred["data"]["reason"]

    def test_a_hanging_or_refusing_topic_does_not_affect_deliveries(
        self, app: tuple[str, Emulator], topic: CustomTopic, tmp_path: Path
    ) -> None:
        url, emulator = app
        journal = Journal(SqliteStore(tmp_path / "journal.sqlite3"))
        topic.open.clear()
        topic.statuses.append(403)
        assert deliver(url, sample_text("run-completed")).status_code == 202
        assert topic.arrived.wait(20)
        assert deliver(url, sample_text("model-registered")).status_code == 202
        assert topic.answered == []
        topic.open.set()
        topic.wait_for(1)
        assert len(emulator.books.runs) == 2
        with exported_log() as exported:

            def is_counted() -> bool:
                assert deliver(url, sample_text("run-completed")).status_code == 202
                return bool(journaled_losses(journal))

            wait_until(is_counted)
        (lost,) = [record for record in exported if record.name == "nextstage.notifications"]
        assert (lost.levelname, "HTTP 403" in lost.getMessage()) == ("WARNING", True)
        assert [loss.count for loss in journaled_losses(journal)] == [1]


def test_losses_wait_while_the_journal_does_not_answer(topic: CustomTopic, tmp_path: Path) -> None:
    settings = load_settings(
        {**ENVIRONMENT, "AZURE_DEVOPS_AUTH": "pat", "AZURE_DEVOPS_EXT_PAT": secret("pat"),
         "NOTIFY_TOPIC_ENDPOINT": topic.url, "NOTIFY_TOPIC_KEY": KEY}, tmp_path,
    )  # fmt: skip
    journal = Journal(SqliteStore(tmp_path / "journal.sqlite3"))
    report = reporter(settings, journal)
    topic.statuses.append(403)
    report(Decision("event-1", "type", "subject", "route", Outcome.QUEUED, key="aa", run_id=1))

    def is_lost() -> bool:
        report(Decision("event-2", "type", "subject", "route", Outcome.IGNORED, cause="JournalUnavailable"))
        return topic.answered != []

    wait_until(is_lost)
    assert journaled_losses(journal) == []

    def is_counted() -> bool:
        report(Decision("event-3", "type", "subject", "route", Outcome.IGNORED))
        return journaled_losses(journal) != []

    wait_until(is_counted)


def run_program(app_dir: Path, events: list[str], **environment: str) -> tuple[list[str], list[str]]:
    """Deliver events in a separate process. Return the outcomes and the imported modules of Azure's libraries."""
    (app_dir / "routes.yaml").write_text(ROUTES)
    known = {**ENVIRONMENT, "AZURE_DEVOPS_AUTH": "pat", "AZURE_DEVOPS_EXT_PAT": secret("pat")}
    arguments: list[Any] = [{**known, **environment}, str(app_dir), events]
    command, document = [sys.executable, "-c", PROGRAM], json.dumps(arguments)
    done = subprocess.run(command, input=document, cwd=ROOT, capture_output=True, text=True, check=True)
    outcomes, modules = json.loads(done.stdout)
    return outcomes, modules


class TestAProcess:
    def test_no_library_is_imported_before_the_first_notification(self, tmp_path: Path, topic: CustomTopic) -> None:
        assert run_program(tmp_path, [run_completed()]) == (["queued"], []), "without a topic"
        to_topic = {"NOTIFY_TOPIC_ENDPOINT": topic.url, "NOTIFY_TOPIC_KEY": KEY}
        assert run_program(tmp_path, [run_completed()], **to_topic) == (["duplicate"], [])
        assert topic.answered == []

    def test_queued_notifications_are_published_at_the_end_of_a_process(
        self, tmp_path: Path, topic: CustomTopic
    ) -> None:
        events = [run_completed(f"run-{number}") for number in range(25)]
        outcomes, _ = run_program(tmp_path, events, NOTIFY_TOPIC_ENDPOINT=topic.url, NOTIFY_TOPIC_KEY=KEY)
        assert outcomes == ["queued"] * 25
        assert len({event["id"] for event in topic.events}) == 25
