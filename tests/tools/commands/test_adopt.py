"""``manage.py redrive KEY --adopt RUN_ID``: an operator says which run is that of an event."""

import uuid
from dataclasses import dataclass
from datetime import timedelta

import pytest

from shared.clock import utc_now
from shared.journal.records import Record, Selection, State
from tests.support.builders import run_completed
from tests.tools.conftest import RIGHT, Desk
from tools.actions.redrive import Results, adopt_run
from tools.console import Console
from tools.installation import Installation


@dataclass
class Doubt:
    """A desk with an event of which the app cannot tell whether a run was queued for it."""

    desk: Desk
    route: str

    def park(self, run_id: str) -> Record:
        """Lose the answer to a request. The list of builds then does not show the parameters of its run."""
        self.desk.plan(accept=True, drop=True, behavior={"parameters": "null"})
        self.desk.deliver(run_completed(run_id))
        past = utc_now() - timedelta(seconds=1)
        (record,) = (one for one in self.records if one.state is State.UNCERTAIN)
        assert self.desk.store.replace(record._replace(settled_at=past, lease_until=past)) is not None
        self.desk.deliver(run_completed(run_id))
        return self.stored(record)

    @property
    def records(self) -> list[Record]:
        return list(self.desk.store.select(Selection(self.route), 100))

    def stored(self, record: Record) -> Record:
        current = self.desk.store.get(record.key)
        assert current is not None
        return current


@pytest.fixture(params=["sqlite", "azurite"])
def doubt(busy_desk: Desk, request: pytest.FixtureRequest) -> Doubt:
    route = "adopt-" + uuid.uuid4().hex[:8]
    if request.param == "azurite":
        busy_desk.settings = {"JOURNAL_CONNECTION": request.getfixturevalue("azurite").connection_string}
    busy_desk.routes(RIGHT.replace("name: evaluate", f"name: {route}"))
    return Doubt(busy_desk, route)


def test_a_candidate_is_adopted_and_no_run_is_queued(doubt: Doubt) -> None:
    desk, record = doubt.desk, doubt.park("run-1")
    key, (run,) = record.key.key, desk.runs
    link = f"{run['id']} ({desk.organization_url}/"
    assert record.state is State.PARKED
    assert f"cannot tell whether one of these runs was queued for it: {link}" in record.reason
    shown = desk.run("journal", "show", key).out
    assert f"reason    {record.reason}\n" in shown, "with the links of all candidates"
    assert all(option in record.reason for option in ("--adopt RUN_ID", "--without-looking"))

    looked = desk.run("redrive", key)
    assert (looked.code, looked.rows[0][2], link in looked.rows[0][3]) == (1, "parked", True), "it looks again"
    dry_run = desk.run("redrive", key, "--adopt", run["id"], "--dry-run")
    words = f"run {run['id']} {doubt.desk.organization_url}/"
    assert (dry_run.code, dry_run.rows[0][:3]) == (0, [key[:12], doubt.route, "would adopt"])
    assert dry_run.rows[0][3].startswith(words)
    assert doubt.stored(record).state is State.PARKED

    result = desk.run("redrive", key, "--adopt", run["id"])
    assert (result.code, result.rows[0][:3]) == (0, [key[:12], doubt.route, "queued"])
    assert result.rows[0][3].startswith(words)
    assert result.rows[0][3].endswith("; adopted by an operator")
    stored = doubt.stored(record)
    assert (stored.state, stored.run_id, len(desk.runs)) == (State.QUEUED, run["id"], 1)

    again = desk.run("redrive", key, "--adopt", run["id"])
    assert (again.code, again.rows[0][2]) == (0, "duplicate")
    other = desk.run("redrive", key, "--adopt", 999)
    assert (other.code, other.rows[0][2]) == (1, "refused")
    assert other.rows[0][3].startswith(words)
    assert other.rows[0][3].endswith("; it is queued; run 999 was not adopted")


def test_runs_that_cannot_be_the_events(doubt: Doubt) -> None:
    """Runs that do not exist, of another pipeline, and of another record are refused, and nothing is changed."""
    desk, record = doubt.desk, doubt.park("run-1")
    foreign = desk.queue(13, templateParameters={"serviceName": "s"})
    desk.deliver(run_completed("run-2"))
    (other,) = (one for one in doubt.records if one.state is State.QUEUED)
    unchanged = "; nothing was changed: the record is parked and has no run"
    for run_id, message in {
        999: "there is no run 999 in project mlops of ",
        foreign: f"run {foreign} is one of another pipeline, not of model-evaluation",
        other.run_id: f"run {other.run_id} belongs to the record {other.key.key[:12]} of {doubt.route}",
    }.items():
        for options in ([], ["--dry-run"]):
            result = desk.run("redrive", record.key.key, "--adopt", run_id, *options)
            result.fails(2, message)
            assert unchanged in result.err
    assert doubt.stored(record) == record


def test_a_run_that_is_visibly_another_one_needs_yes(doubt: Doubt) -> None:
    desk, record = doubt.desk, doubt.park("run-1")
    other = desk.queue(11, templateParameters={"runId": "another", "experimentName": "train"})
    arguments = ("redrive", record.key.key, "--adopt", other)
    desk.run(*arguments).fails(
        2, "does not look like the run of this event: another identity requested it; runId is 'another' inst"
    )
    dry_run = desk.run(*arguments, "--dry-run")
    assert (
        "; but another identity requested it; runId is 'another' instead of 'run-1'; nothing was changed"
        in dry_run.rows[0][3]
    )
    assert doubt.stored(record).state is State.PARKED
    assert desk.run(*arguments, "--yes").code == 0
    assert doubt.stored(record).run_id == other


def test_two_operators_at_once(doubt: Doubt) -> None:
    desk, record = doubt.desk, doubt.park("run-1")
    run_id = desk.runs[0]["id"]
    processes = [desk.start("redrive", record.key.key, "--adopt", run_id) for _ in range(2)]
    results = [desk.finish(process) for process in processes]
    assert [(one.code, one.err) for one in results] == [(0, "")] * 2
    assert "queued" in {one.rows[0][2] for one in results}
    assert (doubt.stored(record).run_id, len(desk.runs)) == (run_id, 1)


def test_none_of_the_candidates_is_the_events_run(doubt: Doubt) -> None:
    desk, record = doubt.desk, doubt.park("run-1")
    result = desk.run("redrive", record.key.key, "--without-looking")
    assert (result.code, result.rows[0][2], len(desk.runs)) == (0, "queued", 2)


def test_without_azure_devops_nothing_is_changed(desk: Desk) -> None:
    record = desk.park()
    entry = record.entry._replace(request="")
    assert desk.store.replace(record._replace(entry=entry)) is not None
    desk.fails(2, "has no request that a run could belong to", "redrive", record.key.key, "--adopt", 7)
    desk.deliver(run_completed("released"))
    (released,) = (one for one in desk.records if one.state is State.RELEASED)
    result = desk.run("redrive", released.key.key, "--adopt", 7)
    assert (result.code, result.rows[0][2]) == (1, "deferred")
    assert result.rows[0][3].endswith("; the record is released and has no run")


@pytest.mark.parametrize("arguments", ["abcd ef01 --adopt 7", "--all --adopt 7", "abcd --adopt 7 --without-looking"])
def test_it_needs_exactly_one_key(desk: Desk, arguments: str) -> None:
    desk.fails(2, "--adopt needs exactly one KEY, and excludes --without-looking", "redrive", *arguments.split())


def test_another_operator_was_faster(busy_desk: Desk) -> None:
    """The record has got its run, which may be another one, since this operator's command read it."""
    doubt = Doubt(busy_desk, "evaluate")
    record, (run,) = doubt.park("run-1"), busy_desk.runs
    assert busy_desk.run("redrive", record.key.key, "--without-looking").code == 0
    installation, (_, second) = Installation(busy_desk.folder, busy_desk.environment), busy_desk.runs
    assert not adopt_run(installation, record, run["id"], Results(Console(), as_json=False), is_dry=False, is_sure=True)
    out = busy_desk.capfd.readouterr().out
    assert f"refused       run {second['id']} " in out
    assert f"; run {run['id']} was not adopted" in out


def test_a_request_that_may_still_be_in_progress(busy_desk: Desk) -> None:
    busy_desk.plan(accept=True, drop=True)
    busy_desk.settings = {"JOURNAL_SETTLE_SECONDS": "60"}
    busy_desk.deliver()
    (record,) = busy_desk.records
    result = busy_desk.run("redrive", record.key.key, "--adopt", busy_desk.runs[0]["id"])
    assert (result.code, result.rows[0][2]) == (1, "deferred")
    assert "a request whose answer was lost may still be in progress until" in result.rows[0][3]
    assert result.rows[0][3].endswith("; the record is uncertain and has no run")
