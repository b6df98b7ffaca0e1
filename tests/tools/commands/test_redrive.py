"""``manage.py redrive``: sends parked events again, exactly once, and reports their outcomes."""

import os
import pty
import uuid
from datetime import timedelta

import pytest

from devstack.azurite import Azurite
from shared.journal.journal import Journal
from shared.journal.records import State
from tests.support.builders import GATHERS, event_text, run_completed
from tests.support.clock import ManualClock
from tests.tools.conftest import EVALUATE, RIGHT, TRIAGE, WRONG, Desk, Result
from tools.actions.redrive import Results, redrive_records
from tools.console import Console
from tools.installation import Installation


def redriven(result: Result) -> list[tuple[str, ...]]:
    """Return the route and the outcome of each record's row."""
    return [tuple(row[1:3]) for row in result.rows[:-1]]


class TestAfterTheRouteIsCorrected:
    def test_from_parked_to_queued(self, busy_desk: Desk) -> None:
        """Azure DevOps refuses the run; the operator finds the record, corrects the route and redrives it."""
        busy_desk.routes(WRONG)
        busy_desk.deliver()
        key = busy_desk.run("journal", "--state", "parked", "--json").json[0]["key"]
        busy_desk.routes(RIGHT)
        dry_run = busy_desk.process("redrive", key[:8], "--dry-run")
        assert (dry_run.code, dry_run.err) == (0, "")
        request = "model-evaluation in contoso/mlops on main; runId=run-1, experimentName=train"
        assert dry_run.rows == [
            [key[:12], "evaluate", "would queue", request],
            ["1 record, and nothing was changed: 1 would queue"],
        ]
        assert ([record.state for record in busy_desk.records], busy_desk.runs) == ([State.PARKED], [])

        result = busy_desk.process("redrive", key[:8])
        (run,) = busy_desk.runs
        (record,) = busy_desk.records
        assert (result.code, result.err) == (0, "")
        assert result.rows == [
            [key[:12], "evaluate", "queued", f"run {run['id']} {record.run_url}"],
            ["1 record: 1 queued"],
        ]
        assert run["templateParameters"] == {"runId": "run-1", "experimentName": "train"}
        assert (record.key.key, record.state, record.run_id) == (key, State.QUEUED, run["id"])

        again = busy_desk.process("redrive", key[:8])
        outcome = ["duplicate", "it is queued; nothing is left to do"]
        assert (again.code, again.rows[0]) == (0, [key[:12], "evaluate", *outcome])
        assert len(busy_desk.runs) == 1

    def test_two_redrives_at_once_queue_one_run(self, busy_desk: Desk) -> None:
        key = busy_desk.park().key.key
        busy_desk.plan(accept=True, delay_after_seconds=1)
        processes = [busy_desk.start("redrive", key) for _ in range(2)]
        codes = sorted(busy_desk.finish(process).code for process in processes)
        assert len(busy_desk.runs) == 1
        assert codes in ([0, 0], [0, 1]), "the second redrive is deferred, or finds the run queued"
        assert [record.state for record in busy_desk.records] == [State.QUEUED]

    def test_a_changed_once_per_reports_the_new_key(self, busy_desk: Desk) -> None:
        keys = [busy_desk.park(run_id, runTags={"team": "blue"}).key.key for run_id in "ab"]
        busy_desk.routes(RIGHT + "\nonce_per: '{{ run_tags.team }}'")
        result = busy_desk.run("redrive", *keys)
        (record,) = busy_desk.records
        assert (result.code, redriven(result)) == (0, [("evaluate", "queued"), ("evaluate", "duplicate")])
        assert result.rows[0][3] == f"under key {record.key.key[:12]}; run 501 {record.run_url}"
        assert len(busy_desk.runs) == 1

    def test_an_unrouted_event_that_is_complete_now(self, desk: Desk) -> None:
        """If no route matches the event, it is ignored like any other event."""
        desk.deliver(event_text("RunCompleted", {"experimentName": "train"}))
        (record,) = desk.records
        complete = record._replace(entry=record.entry._replace(event=run_completed()))
        assert desk.store.replace(complete) is not None
        desk.routes(RIGHT + "\nenabled: false")
        key, reason = record.key.key, "no route matches; evaluate: it is disabled"
        assert desk.run("journal", "show", key).out.endswith(f"redrive: nothing to do: {reason}\n")
        for options, outcome in ((["--dry-run"], "would ignore"), ([], "ignored")):
            result = desk.run("redrive", key, *options)
            assert (result.code, result.rows[0]) == (0, [key[:12], "$unrouted", outcome, reason])
        assert desk.records == []

    @pytest.mark.parametrize(
        ("more", "words"),
        [
            ("branch: dev", "on dev; runId"),
            ("variables: { system.debug: 'true' }", "; variables system.debug=true"),
            ("stages_to_skip: [report]\npipeline_version: 1", "; without the stages report; version 1"),
            ("cooldown: 6h", "; unless the cooldown of another run covers it"),
        ],
    )
    def test_a_dry_run_shows_the_whole_request(self, desk: Desk, more: str, words: str) -> None:
        desk.park()
        desk.routes(f"{RIGHT}\n{more}")
        result = desk.run("redrive", "--all", "--dry-run")
        assert (result.rows[0][2], words in result.rows[0][3]) == ("would queue", True)

    def test_a_cooldown_applies_to_the_dry_run_and_the_redrive(self, busy_desk: Desk) -> None:
        key = busy_desk.park().key.key
        busy_desk.routes(RIGHT + "\ncooldown: 6h")
        busy_desk.deliver(run_completed("another"))
        assert redriven(busy_desk.run("redrive", key, "--dry-run")) == [("evaluate", "would suppress")]
        result = busy_desk.run("redrive", key)
        assert (result.code, redriven(result)) == (0, [("evaluate", "suppressed")])


class TestSelection:
    def test_all_parked_records_or_those_of_one_route_the_oldest_first(self, desk: Desk) -> None:
        keys = [desk.park(run_id).key.key[:12] for run_id in "abc"]
        desk.deliver(run_completed("released"))
        desk.deliver("{nonsense")
        result = desk.run("redrive", "--route", "evaluate", "--dry-run")
        assert [row[0] for row in result.rows[:-1]] == keys
        everything = desk.run("redrive", "--all", "--dry-run")
        expected = [("evaluate", "would queue")] * 3 + [("$unrouted", "would park")]
        assert (everything.code, redriven(everything)) == (1, expected)
        limited = desk.run("redrive", "--all", "--dry-run", "--limit", "2")
        assert [row[0] for row in limited.rows[:-1]] == keys[:2]
        assert limited.err == "the oldest 2 of 4 records; use --limit for more, or run it again\n"

    def test_records_that_event_grid_gave_up(self, busy_desk: Desk) -> None:
        busy_desk.plan(accept=False, status=429, times=1)
        busy_desk.deliver(run_completed("released"))
        busy_desk.plan(accept=True, drop=True)
        busy_desk.deliver(run_completed("uncertain"))
        assert sorted(record.state for record in busy_desk.records) == [State.RELEASED, State.UNCERTAIN]
        assert busy_desk.run("redrive", "--all").rows == [
            [f"nothing to redrive in the journal {busy_desk.folder / 'journal.sqlite3'}"]
        ]
        states = ("--state", "released", "--state", "uncertain", "--state", "claimed")
        (unsure,) = (record for record in busy_desk.records if record.state is State.UNCERTAIN)
        busy_desk.clock = clock = ManualClock()
        for early, outcome in ((timedelta(milliseconds=1), "would defer"), (timedelta(), "would look")):
            clock.now = unsure.settled_at - early
            dry_run = busy_desk.run("redrive", "--all", "--dry-run", *states)
            assert sorted(row[2] for row in dry_run.rows[:-1]) == [outcome, "would queue"]
        busy_desk.settle()
        result = busy_desk.run("redrive", "--all", *states)
        assert (result.code, redriven(result)) == (0, [("evaluate", "queued")] * 2)
        assert sorted(run["templateParameters"]["runId"] for run in busy_desk.runs) == ["released", "uncertain"]

    def test_a_redrive_that_was_interrupted_is_found_again(self, desk: Desk) -> None:
        record = desk.park()
        Journal(desk.store).reopen(record, "redriven")
        assert redriven(desk.run("redrive", "--all", "--dry-run")) == [("evaluate", "would queue")]

    def test_a_misspelled_route_is_not_an_empty_one(self, desk: Desk) -> None:
        desk.deliver()  # creates the journal
        desk.routes(RIGHT, TRIAGE)
        journal = f"nothing to redrive in the journal {desk.folder / 'journal.sqlite3'}\n"
        desk.fails(2, "there is no route 'trage'; did you mean 'triage'?", "redrive", "--route", "trage")
        assert desk.run("redrive", "--route", "triage").out == journal
        desk.routes(TRIAGE)
        assert desk.run("redrive", "--route", "evaluate").out == journal, "a removed route that has records"

    def test_several_keys_of_which_all_must_exist(self, desk: Desk) -> None:
        first, second = (desk.park(run_id).key.key for run_id in "ab")
        result = desk.run("redrive", first, second[:10], first[:6], "--dry-run")
        assert [row[0] for row in result.rows[:-1]] == [first[:12], second[:12]]
        result = desk.run("redrive", first, "ffffffff", "eeeeeeee")
        assert (result.code, result.out) == (2, "")
        assert [line.split("; ")[0].split()[-1] for line in result.err.splitlines()] == ["ffffffff", "eeeeeeee"]
        assert {record.state for record in desk.records} == {State.PARKED}


class TestFailures:
    def test_a_deferral(self, desk: Desk) -> None:
        result = desk.run("redrive", desk.park().key.key)
        expected = [("evaluate", "deferred")], ["1 record: 1 deferred"]
        assert (result.code, redriven(result), result.rows[-1]) == (1, *expected)
        assert [record.state for record in desk.records] == [State.PARKED]

    def test_a_record_that_another_redrive_has_claimed_does_not_stop_the_others(self, desk: Desk) -> None:
        first, second = (desk.park(run_id) for run_id in "ab")
        stale = first._replace(version="1")
        installation = Installation(desk.folder, desk.environment)
        assert not redrive_records(
            installation, [stale, second], Results(Console(), as_json=False), is_dry=False, look=True
        )
        out = desk.capfd.readouterr().out
        assert f"of route evaluate has been taken over by another delivery\n{second.key.key[:12]}  evaluate" in out

    def test_a_run_that_cannot_be_searched_for(self, busy_desk: Desk) -> None:
        """The answer was lost, and then the pipeline was removed. The operator checks that there is no run."""
        busy_desk.routes(EVALUATE + " { runId: '{{ run_id }}', experimentName: x }")
        busy_desk.plan(accept=False, drop=True)
        busy_desk.deliver()
        busy_desk.settle()
        search = {"method": "GET", "path": "/_apis/build/builds"}
        busy_desk.plan(accept=False, status=404, body={"message": "no such project"}, match=search, times=2)
        busy_desk.deliver()
        (record,) = busy_desk.records
        assert record.state is State.PARKED
        for options, outcome in (([], "would look"), (["--without-looking"], "would queue")):
            dry_run = busy_desk.run("redrive", record.key.key, "--dry-run", *options)
            assert redriven(dry_run) == [("evaluate", outcome)]
        result = busy_desk.run("redrive", record.key.key)
        assert (result.code, result.rows[0][2]) == (1, "parked")
        assert "a run may have been queued, but the search for it was refused: HTTP 404" in result.rows[0][3]
        assert busy_desk.run("redrive", record.key.key, "--without-looking").code == 0
        assert len(busy_desk.runs) == 1

    def test_warnings_of_the_app_are_shown(self, busy_desk: Desk) -> None:
        busy_desk.plan(accept=False, status=500, match={"method": "POST", "path": "tags"}, times=9)
        busy_desk.park()
        result = busy_desk.run("redrive", "--all")
        assert result.code == 0
        assert result.err.startswith("manage.py: run 501 could not be tagged with")

    def test_an_interruption(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupt(self: Journal, *arguments: object) -> None:
            raise KeyboardInterrupt

        desk.park()
        monkeypatch.setattr(Journal, "select", interrupt)
        message = "interrupted; what was done is kept, so it is safe to run the command again"
        desk.fails(130, message, "redrive", "--all")


def test_a_message_of_azure_devops_cannot_control_the_operators_terminal(busy_desk: Desk) -> None:
    key = busy_desk.park().key.key
    message = {"message": "\x1b[2Jall fine\r\n\x9b1m\u202e"}
    busy_desk.plan(accept=False, match={"method": "POST", "path": "/tags"}, status=403, body=message)
    result = busy_desk.process("redrive", key)
    assert (result.code, result.err.count("\n")) == (0, 1)
    assert "could not be tagged" in result.err
    assert "all fine" in result.err
    assert not set("\x1b\r\x9b\u202e") & set(result.err)


@pytest.mark.parametrize(
    ("records", "arguments", "answer", "code"),
    [("ab", "--all", "n", 1), ("ab", "--all", "y", 0), ("ab", "--all --yes", "n", 0), ("a", "--all", "n", 0)],
)
def test_on_a_terminal_more_than_one_needs_confirmation(
    busy_desk: Desk, records: str, arguments: str, answer: str, code: int
) -> None:
    for run_id in records:
        busy_desk.park(run_id)
    ours, theirs = pty.openpty()
    os.write(ours, f"{answer}\n".encode())
    result = busy_desk.finish(busy_desk.start("redrive", *arguments.split(), stdin=theirs))
    os.close(ours)
    os.close(theirs)
    assert (result.code, len(busy_desk.runs)) == (code, 0 if code else len(records))
    if code:
        question = f"redrive 2 records in the journal {busy_desk.folder / 'journal.sqlite3'}? [y/N] "
        assert result.err == f"{question}manage.py: not confirmed; nothing was sent\n"


def test_redrive_on_azure_tables(busy_desk: Desk, azurite: Azurite) -> None:
    route = "tables-" + uuid.uuid4().hex[:8]
    busy_desk.settings = {"JOURNAL_CONNECTION": azurite.connection_string}
    busy_desk.routes(WRONG.replace("evaluate", route))
    busy_desk.deliver()
    busy_desk.routes(RIGHT.replace("evaluate", route))
    (document,) = busy_desk.run("journal", "--route", route, "--json").json
    assert (document["state"], document["event"]["id"]) == ("parked", "event-1")
    result = busy_desk.process("redrive", "--route", route)
    assert (result.code, redriven(result)) == (0, [(route, "queued")])
    shown = busy_desk.run("journal", "show", document["key"], "--json").json
    assert (shown["state"], shown["run_id"]) == ("queued", busy_desk.runs[0]["id"])
    nothing = busy_desk.run("journal", "--route", route, "--state", "parked").out
    assert nothing == "no matching records in the journal in Azure Tables\n"


@pytest.mark.parametrize("how", ["--dry-run", "--yes"])
def test_an_app_that_does_not_start_redrives_nothing(desk: Desk, how: str) -> None:
    """A dry run does not promise what the command then refuses."""
    record = desk.park()
    desk.routes(RIGHT, GATHERS)
    for chosen in (["--all"], [record.key.key], ["--dead-letters", desk.file(run_completed("run-2"))]):
        desk.fails(2, "'gather' needs a resume queue", "redrive", *chosen, how)
    assert "'gather' needs a resume queue" in desk.run("journal", "show", record.key.key).out
