"""Records of waits that another program has changed: they do not prevent other tasks from being completed."""

import json
import logging
from datetime import timedelta
from typing import Any

import pytest
from cryptography.fernet import Fernet

from shared.credentials import Secret
from shared.errors import UnreadableRecord
from shared.journal.records import JournalKey, Record, Selection, State
from shared.telemetry import Outcome
from shared.waits.sweep import Sweep
from shared.waits.task_client import Access
from shared.waits.wait import Wait, end_record, read_end, run_of_task, waits_partition
from tests.support.clock import ManualClock
from tests.support.journal.memory_store import MemoryStore
from tests.support.waits import EVENT, KEY, TOKEN, Scene, a_request, the_end

TASK = ("plan_url", "project_id", "hub_name", "plan_id", "job_id", "timeline_id", "task_instance_id")


@pytest.fixture
def scene(clock: ManualClock) -> Scene:
    return Scene(MemoryStore(), clock)


def register(scene: Scene) -> Record:
    """Register a task, and return its record."""
    return scene.waits.register(a_request(), scene.in_seconds())


def alter(scene: Scene, key: JournalKey, document: str) -> Record:
    found = scene.store.get(key)
    assert found is not None
    altered = scene.store.replace(found._replace(document=document))
    assert altered is not None
    return altered


def altered_documents(document: str) -> list[str]:
    """Return the document with each of its fields removed and replaced, and other documents."""
    fields = json.loads(document)
    others: list[Any] = [
        {name: fields[name] for name in fields if name != removed} for removed in fields if removed != "sealed"
    ]
    half_a_pair = chr(0xD800)
    others += [{**fields, name: value} for name in fields if name != "proven" for value in (5, half_a_pair)]
    return ["", "null", "5", "[]", "{}", "[" * 100_000, *map(json.dumps, others)]


def test_each_altered_wait_is_unreadable(scene: Scene) -> None:
    record = register(scene)
    fields = json.loads(record.document)
    documents = altered_documents(record.document)
    documents += [json.dumps({**fields, "task": {**fields["task"], name: None}}) for name in TASK]
    documents += [json.dumps({**fields, "registered_at": "2026-11-20T12:00:00"})]
    for document in documents:
        with pytest.raises(UnreadableRecord, match="cannot be read"):
            Wait.of(record._replace(document=document))
    more = {**fields, "invented_later": 1, "task": {**fields["task"], "also_invented": 2}}
    assert Wait.of(record._replace(document=json.dumps(more))) == Wait.of(record), "unknown fields are ignored"
    assert not Wait.of(record._replace(document=json.dumps({**fields, "proven": "yes"}))).proven


def test_each_altered_end_is_unreadable(scene: Scene) -> None:
    key, document = end_record(the_end())
    record = scene.journal.write_once(key, State.NOTED, document)
    for altered in altered_documents(document):
        with pytest.raises(UnreadableRecord, match="cannot be read"):
            read_end(record._replace(document=altered))
    more = {**json.loads(document), "invented_later": 1}
    assert read_end(record._replace(document=json.dumps(more))) == the_end()


@pytest.mark.parametrize("document", ["", "null", "5", "[]", "{}", "[" * 100_000])
def test_an_altered_run_of_a_task_is_unreadable(scene: Scene, document: str) -> None:
    register(scene)
    (record,) = scene.journal.select(Selection("$task"), 9)
    with pytest.raises(UnreadableRecord, match=r"of route \$task cannot be read"):
        run_of_task(record._replace(document=document))


def test_the_sweep_skips_an_altered_wait(scene: Scene, clock: ManualClock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    bad, good = register(scene), register(scene)
    alter(scene, bad.key, "{}")
    scene.waits.ends.note(the_end())
    hour = timedelta(hours=1)
    result = Sweep(scene.journal, scene.waits, scene.workspaces, [], after=hour, timeout=hour, clock=clock).run()
    assert (result.open, result.completed) == (1, 1)
    assert list(scene.tasks.results) == [Wait.of(good).task.task_instance_id]
    (logged,) = caplog.messages
    assert logged.startswith(f"the record {bad.key.key[:12]} of route {bad.key.route} cannot be read (KeyError: ")


@pytest.mark.parametrize("change", [{"run_id": chr(0xD800)}, {"workspace": chr(0xD800)}, {"sealed": chr(0xD800)}])
def test_half_a_surrogate_pair_stops_no_other_wait(scene: Scene, clock: ManualClock, change: dict[str, str]) -> None:
    bad, good = register(scene), register(scene)
    alter(scene, bad.key, json.dumps(json.loads(bad.document) | change))
    scene.waits.ends.note(the_end())
    hour = timedelta(hours=1)
    Sweep(scene.journal, scene.waits, scene.workspaces, [], after=hour, timeout=hour, clock=clock).run()
    assert list(scene.tasks.results) == [Wait.of(good).task.task_instance_id]


def test_the_end_of_a_run_completes_the_tasks_next_to_an_altered_wait(scene: Scene) -> None:
    bad, good = register(scene), register(scene)
    alter(scene, bad.key, "{}")
    ((decision, _),) = scene.waits.run_ended(the_end(), EVENT, scene.in_seconds())
    assert decision.outcome is Outcome.COMPLETED
    assert list(scene.tasks.results) == [Wait.of(good).task.task_instance_id]


def test_an_altered_end_is_not_known(scene: Scene) -> None:
    scene.waits.run_ended(the_end(), EVENT, scene.in_seconds())
    key, _ = end_record(the_end())
    alter(scene, key, "{}")
    register(scene)
    assert scene.tasks.results == {}
    ((decision, _),) = scene.waits.run_ended(the_end(), EVENT, scene.in_seconds())
    assert decision.outcome is Outcome.DEFERRED
    assert "repair or delete the record" in decision.reason


def completed_with(scene: Scene) -> list[Outcome]:
    return [one.outcome for one, _ in scene.waits.run_ended(the_end(), EVENT, scene.in_seconds())]


@pytest.mark.parametrize(
    "change",
    [
        {"plan_url": "https://dev.azure.com/attacker"},
        {"plan_url": "http://dev.azure.com/contoso"},
        {"plan_url": "https://attacker.example"},
        {"project_id": "../../attacker"},
        {"plan_id": "11111111-2222-3333-4444-555555555555"},
    ],
)
def test_a_token_is_not_sent_elsewhere(scene: Scene, caplog: pytest.LogCaptureFixture, change: dict[str, str]) -> None:
    """security.md: the app decrypted the token, and sent it to the address that was in the record."""
    record = register(scene)
    scene.tasks.lines.clear()
    fields = json.loads(record.document)
    alter(scene, record.key, json.dumps({**fields, "task": {**fields["task"], **change}}))
    assert completed_with(scene) == [Outcome.CLOSED]
    assert (scene.tasks.accesses, scene.tasks.lines, scene.tasks.results) == ([], {}, {})
    (logged,) = (record.message for record in caplog.records if record.levelname == "ERROR")
    assert logged.startswith("a wait was closed: cannot complete task ")
    assert "changed the record" in logged or "; the token is not sent there" in logged


@pytest.mark.parametrize("swept", [False, True], ids=["event", "sweep"])
def test_the_task_of_a_wait_with_copies_is_told_once(scene: Scene, clock: ManualClock, swept: bool) -> None:
    record = register(scene)
    for key in (record.key._replace(key="0" * 64), record.key._replace(key="f" * 64), JournalKey("$wait.x", "0" * 64)):
        scene.journal.write_once(key, State.WAITING, record.document)
    if swept:
        scene.waits.ends.note(the_end())
        hour = timedelta(hours=1)
        Sweep(scene.journal, scene.waits, scene.workspaces, [], after=hour, timeout=hour, clock=clock).run()
    else:
        assert sorted(completed_with(scene)) == [Outcome.CLOSED, Outcome.CLOSED, Outcome.COMPLETED]
    assert scene.tasks.results == {Wait.of(record).task.task_instance_id: ["succeeded"]}


def test_a_copy_of_a_wait_for_another_run_does_not_end(scene: Scene) -> None:
    record = register(scene)
    scene.journal.write_once(record.key._replace(route=waits_partition("run-2")), State.WAITING, record.document)
    assert scene.waits.run_ended(the_end("run-2"), EVENT, scene.in_seconds()) == ()


def test_a_wait_whose_run_was_changed_does_not_end(scene: Scene) -> None:
    record = register(scene)
    fields = json.loads(record.document) | {"run_id": "run-2"}
    wait = Wait.of(record._replace(document=json.dumps(fields)))
    scene.journal.write_once(wait.key, State.WAITING, wait.document())
    assert [one.outcome for one, _ in scene.waits.run_ended(the_end("run-2"), EVENT, scene.in_seconds())] == [
        Outcome.CLOSED
    ]
    assert scene.tasks.results == {}


class TestOf010:
    """A record of version 0.1.0, which encrypted only the token."""

    @pytest.fixture
    def record(self, scene: Scene) -> Record:
        record = register(scene)
        fields = json.loads(record.document)
        del fields["sealed"]
        token = Fernet(KEY).encrypt(TOKEN.encode()).decode()
        return alter(scene, record.key, json.dumps({**fields, "workspace": None, "sealed_token": token}))

    def test_its_task_is_completed_but_not_with_the_apps_identity(self, scene: Scene, record: Record) -> None:
        assert completed_with(scene) == [Outcome.COMPLETED]
        assert scene.tasks.accesses == [Access(Secret(TOKEN), identity=False)]
        assert list(scene.tasks.results) == [Wait.of(record).task.task_instance_id]

    @pytest.mark.parametrize("plan_url", ["http://dev.azure.com/contoso", "https://attacker.example"])
    def test_the_address_is_checked_again(self, scene: Scene, record: Record, plan_url: str) -> None:
        fields = json.loads(record.document)
        alter(scene, record.key, json.dumps({**fields, "task": {**fields["task"], "plan_url": plan_url}}))
        assert completed_with(scene) == [Outcome.CLOSED]
        assert scene.tasks.accesses == []
