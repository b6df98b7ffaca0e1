"""``manage.py journal``: finds, filters and shows the records of the journal."""

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest

from handlers import NAMES
from shared.azure_devops.runs import Run, RunRequest
from shared.composition import load_configuration
from shared.journal.journal import RESERVATIONS, Journal
from shared.journal.records import NO_EVENT, ORPHANS, Entry, JournalKey, Record, State, Step
from shared.notifications.losses import PARTITION as LOST_NOTIFICATIONS
from shared.notifications.losses import Losses
from shared.queueing.orphans import Orphan
from shared.queueing.search import LostRequest
from tests.support.builders import run_completed
from tests.support.journal import version_0_1_0
from tests.tools.conftest import RIGHT, TRIAGE, WRONG, Desk

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
_numbers = count(1)


def put(
    desk: Desk, age: timedelta = 0 * SECOND, state: State = State.QUEUED, route: str = "evaluate", key: str = "",
    **changes: Any,
) -> Record:  # fmt: skip
    """Store a record as the app could have written it, and set the clock of the commands to ``NOW``.

    :param age: the time since its last change.
    """
    desk.clock = lambda: NOW
    at = NOW - age
    record = Record(
        key=JournalKey(route, key.ljust(64, "0") if key else f"{next(_numbers):064x}"),
        state=state,
        entry=Entry("event-1", "Microsoft.MachineLearningServices.RunCompleted", "subject", run_completed()),
        claimed_at=at - SECOND,
        lease_until=at,
        settled_at=at,
        history=(Step(at - SECOND, State.CLAIMED, ""), Step(at, state, "note")),
    )
    written = desk.store.insert(record._replace(**changes))
    assert written is not None
    return written


def keys(desk: Desk, *arguments: object, code: int = 0) -> list[str]:
    result = desk.run("journal", *arguments, "--json")
    assert result.code == code
    return [record["key"] for record in result.json]


def alter(desk: Desk, key: str) -> None:
    """Change a record as another program could."""
    with closing(sqlite3.connect(desk.folder / "journal.sqlite3")) as connection, connection:
        connection.execute("UPDATE records SET document = '{}' WHERE key = ?", [key])


def test_a_file_of_an_earlier_version_is_read_and_not_upgraded(desk: Desk) -> None:
    """The app upgrades it when it starts. Until then, an empty file is an empty journal."""
    path = desk.folder / "journal.sqlite3"
    path.touch()
    assert desk.run("journal").out == f"no records in the journal {path}\n"
    at = [Step(NOW, State.CLAIMED, ""), Step(NOW, State.QUEUED, "note")]
    entry = Entry("event-1", "type", "subject", run_completed())
    old = Record(JournalKey("evaluate", "ab" * 32), State.QUEUED, entry, NOW, NOW, NOW, run_id=501, history=tuple(at))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(version_0_1_0.SCHEMA)
        version_0_1_0.insert(connection, old)
    for arguments in (["journal", "--json"], ["journal", "show", "abab"], ["waits"], ["redrive", "--all", "--dry-run"]):
        assert desk.run(*arguments).code == 0
    assert keys(desk) == [old.key.key]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (0,)
    assert desk.records == [old._replace(version="1")], "opened as the app does"
    assert keys(desk) == [old.key.key]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)


class TestUnreadable:
    def test_unreadable_records_are_counted_and_named(self, desk: Desk) -> None:
        good, *bad = (put(desk, key=key) for key in ("aa", "bb", "cc"))
        for record in bad:
            alter(desk, record.key.key)
        for arguments in ([], ["--json"]):
            result = desk.run("journal", *arguments)
            assert result.code == 1
            first, *others = result.err.splitlines()
            assert first == "2 records cannot be read:"
            assert [other.partition(" cannot be read (KeyError: ")[0] for other in sorted(others)] == [
                "the record bb0000000000 of route evaluate",
                "the record cc0000000000 of route evaluate",
            ]
        assert keys(desk, code=1) == [good.key.key]

    def test_others_can_be_shown_and_redriven(self, desk: Desk) -> None:
        good, bad = put(desk, key="aaaa"), put(desk, key="bbbb", state=State.PARKED)
        alter(desk, bad.key.key)
        shown = desk.run("journal", "show", "aaaa", "--json")
        assert (shown.code, shown.err, shown.json["key"]) == (0, "", good.key.key)
        for arguments in (["--all"], ["--route", "evaluate"]):
            redriven = desk.run("redrive", *arguments, "--dry-run")
            assert redriven.code == 1
            assert redriven.err.startswith("1 record cannot be read:\nthe record bbbb00000000 of route evaluate")

    def test_a_record_that_cannot_be_read_is_named(self, desk: Desk) -> None:
        bad = put(desk, key="bbbb", state=State.PARKED)
        alter(desk, bad.key.key)
        words = "another program has changed it: repair or delete the record"
        for arguments in (["journal", "show"], ["redrive"], ["redrive", "--adopt", "5"]):
            desk.fails(2, words, *arguments, "bbbb")
        put(desk, key="bbbb1", state=State.PARKED)
        result = desk.run("redrive", "bbbb")
        heading, *others = result.err.splitlines()
        assert (result.code, heading) == (2, "manage.py: 2 keys begin with bbbb; give more digits:")
        assert others[-1] == f"  {bad.key.key} evaluate (unreadable)"

    def test_a_wait_without_a_readable_document_is_masked(self, desk: Desk) -> None:
        put(desk, state=State.WAITING, route="$wait.ab", key="abcd", entry=NO_EVENT, document='["a token"]')
        assert desk.run("journal", "show", "abcd", "--json").json["document"] == "***"
        result = desk.run("waits")
        assert (result.code, result.out) == (1, f"no waiting tasks in the journal {desk.folder / 'journal.sqlite3'}\n")
        assert "abcd00000000 of route $wait.ab cannot be read" in result.err


def test_of_many_candidates_a_list_names_the_first(desk: Desk) -> None:
    runs = [
        f"{number} (https://dev.azure.com/contoso/a%20b/_build/results?buildId={number})" for number in (501, 502, 9)
    ]
    reason = "cannot tell whether one of these runs was queued for it: {}. If there is one, adopt it"
    put(desk, state=State.PARKED, reason=reason.format(", ".join(runs)), key="abcd")
    put(desk, timedelta(hours=1), state=State.PARKED, reason=reason.format(runs[0]))
    shown = [row[-1] for row in desk.run("journal").rows[1:]]
    assert shown == [reason.format(f"{runs[0]} and 2 more"), reason.format(runs[0])]
    assert desk.run("journal", "--json").json[0]["reason"] == reason.format(", ".join(runs))
    assert ", ".join(runs) in desk.run("journal", "show", "abcd").out


class TestList:
    def test_as_a_process(self, busy_desk: Desk) -> None:
        busy_desk.deliver(run_completed("a"))
        busy_desk.routes(WRONG)
        busy_desk.deliver(run_completed("b"))
        result = busy_desk.process("journal")
        assert (result.code, result.err) == (0, "")
        head, *rows = result.rows
        assert head == ["KEY", "ROUTE", "STATE", "AGE", "EVENT", "RUN", "REASON"]
        queued, parked = sorted(busy_desk.records, key=lambda record: record.state, reverse=True)
        assert [row[:3] + row[4:] for row in rows] == [
            [parked.key.key[:12], "evaluate", "parked", "RunCompleted event-1", "-", parked.reason],
            [queued.key.key[:12], "evaluate", "queued", "RunCompleted event-1", "501"],
        ], "without a terminal, nothing is cut"
        assert result.out.isascii(), "no box-drawing characters"
        assert busy_desk.run("journal", "list", "--json").json == busy_desk.run("journal", "--json").json

    def test_json_has_every_field(self, desk: Desk) -> None:
        record = put(desk, run_id=7, run_url="https://dev.azure.com/x", reason="found")
        entry = record.entry._replace(request='{"pipeline": "p"}')
        assert desk.store.replace(record._replace(entry=entry)) is not None
        (document,) = desk.run("journal", "--json").json
        now, before = NOW.isoformat(), (NOW - SECOND).isoformat()
        steps = [{"at": before, "state": "claimed", "note": ""}, {"at": now, "state": "queued", "note": "note"}]
        # fmt: off
        assert document == {
            "key": record.key.key, "route": "evaluate", "state": "queued", "reason": "found",
            "changed_at": now, "claimed_at": before, "lease_until": now, "settled_at": now, "comes_again_at": None,
            "run_id": 7, "run_url": "https://dev.azure.com/x",
            "event_id": "event-1", "event_type": record.entry.event_type, "subject": "subject",
            "event": json.loads(run_completed()), "request": {"pipeline": "p"}, "document": None, "history": steps,
            "routes_digest": None, "gathered": None,
        }
        # fmt: on

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            ("", ["redriven", "queued", "other", "parked"]),
            ("--route other", ["other"]),
            ("--state parked", ["parked"]),
            ("--state parked --state uncertain", ["other", "parked"]),
            ("--state parked --route other", []),
            ("--older-than 1h15m", ["other", "parked"]),
            ("--newer-than 2h", ["redriven", "queued", "other"]),
            ("--newer-than 2h --older-than 1h15m", ["other"]),
            ("--older-than 1d", []),
        ],
    )
    def test_filters_with_the_last_change_first(self, desk: Desk, arguments: str, expected: list[str]) -> None:
        names = {
            put(desk, timedelta(hours=3), State.PARKED).key.key: "parked",
            put(desk, timedelta(hours=1)).key.key: "queued",
            put(desk, timedelta(minutes=1), claimed_at=NOW - timedelta(days=3)).key.key: "redriven",
            put(desk, timedelta(minutes=90), State.UNCERTAIN, "other").key.key: "other",
        }
        assert [names[key] for key in keys(desk, *arguments.split())] == expected

    def test_a_limit_reports_the_number_of_all_records(self, desk: Desk) -> None:
        expected = [put(desk, timedelta(minutes=minutes)).key.key for minutes in range(60)]
        default = desk.run("journal", "--json")
        assert [record["key"] for record in default.json] == expected[:50]
        assert default.err == "showing 50 of 60 records; use --limit to show more\n"
        assert keys(desk, "--limit", "2") == expected[:2]
        assert desk.run("journal", "--limit", "60").err == ""

    def test_cooldown_windows_are_listed_on_request(self, desk: Desk) -> None:
        desk.routes(RIGHT + "\ncooldown: 6h", TRIAGE)
        desk.deliver()
        assert sorted(row[1] for row in desk.run("journal").rows[1:]) == ["evaluate", "triage"]
        rows = desk.run("journal", "--windows", "--route", "evaluate").rows[1:]
        window, holder = sorted(rows, key=lambda row: row[1])
        assert (window[1], holder[1]) == ("$cooldown.evaluate", "evaluate")
        assert window[4:] == ["(cooldown window)", "-", f"held by {holder[0]}"]

    def test_an_empty_result(self, desk: Desk) -> None:
        put(desk)
        journal = desk.folder / "journal.sqlite3"
        nothing = f"no matching records in the journal {journal}\n"
        assert desk.run("journal", "--state", "parked").out == nothing
        assert desk.run("journal", "--route", "$unrouted").out == nothing
        desk.routes(TRIAGE)
        assert desk.run("journal", "--route", "triage").out == nothing
        assert desk.run("journal", "--route", "evaluate", "--state", "parked").out == nothing, "it was removed"
        waits = "waiting tasks are not in this list; 'manage.py waits --all' lists them\n"
        assert desk.run("journal", "--state", "waiting").err == waits
        desk.store.delete(desk.records[0])
        assert desk.run("journal").out == f"no records in the journal {journal}\n"
        assert desk.run("journal", "--json").json == []

    def test_control_characters_are_replaced(self, desk: Desk) -> None:
        put(desk, reason="\x1b[2Jgone\r\nsecond \u202eline \x9b1m", state=State.PARKED)
        result = desk.run("journal")
        assert not set("\x1b\r\x9b\u202e") & set(result.out)
        assert len(result.rows) == 2


def orphan(desk: Desk, owner: Record, since: timedelta, run: Run | None, reason: str = "", text: str = "") -> None:
    """Store an orphan of the event of a record."""
    request, until = RunRequest("https://dev.azure.com/contoso", "mlops", 11), NOW + SECOND
    lost = Orphan(LostRequest(owner.key, request, "", NOW - since, until), run)
    record = put(desk, since, State.WAITING, ORPHANS, entry=NO_EVENT, document=text or lost.to_json(), reason=reason)
    put(desk, route=RESERVATIONS, state=State.NOTED, entry=NO_EVENT, document=json.dumps(record.key))


class TestOrphans:
    """Second runs of events, and the records that reserve runs, are not events."""

    def test_the_list_shows_why_each_is_not_canceled(self, desk: Desk) -> None:
        queued = put(desk, run_id=7, run_url="https://dev.azure.com/7")
        parked = put(desk, state=State.PARKED, route="other")
        suppressed = put(desk, state=State.SUPPRESSED)
        removed = queued._replace(key=JournalKey("gone", "f" * 64))
        orphan(desk, queued, timedelta(hours=5), Run(8, "https://dev.azure.com/8"), "HTTP 403: no Stop builds")
        orphan(desk, queued, timedelta(hours=4), None)
        orphan(desk, parked, timedelta(hours=3), Run(9, "https://dev.azure.com/9"))
        orphan(desk, suppressed, timedelta(hours=2), Run(10, ""))
        orphan(desk, removed, timedelta(hours=1), Run(11, ""))
        head, *rows = desk.run("journal", "--orphans").rows
        assert head == ["KEY", "ROUTE", "AGE", "RUN", "LINK", "REASON"]
        key = queued.key.key[:12]
        assert rows[:3] == [
            [key, "evaluate", "5h", "8", "https://dev.azure.com/8", "HTTP 403: no Stop builds"],
            [key, "evaluate", "4h", "-", "-", "a delivery, a redrive or a timer will cancel it"],
            [parked.key.key[:12], "other", "3h", "9", "https://dev.azure.com/9",
             "its event has no run yet, and is parked: this may become its run"],
        ]  # fmt: skip
        assert rows[3][-1] == "a delivery, a redrive or a timer will cancel it"
        assert rows[4][-1].startswith("the record of its event was removed; cancel the run yourself")
        first, *_ = desk.run("journal", "--orphans", "--json").json
        assert first == {
            "key": queued.key.key, "route": "evaluate", "since": (NOW - timedelta(hours=5)).isoformat(),
            "run_id": 8, "run_url": "https://dev.azure.com/8",
            "event_run_id": 7, "event_run_url": "https://dev.azure.com/7", "reason": "HTTP 403: no Stop builds",
        }  # fmt: skip
        limited = desk.run("journal", "--orphans", "--limit", 2, "--json")
        assert (len(limited.json), limited.err) == (2, "showing 2 of 5 orphans; use --limit to show more\n")
        assert [row[0] for row in desk.run("journal", "--orphans", "--route", "other").rows[1:]] == [rows[2][0]]

    @pytest.mark.parametrize("options", [[], ["--json"]])
    def test_the_list_of_records_only_mentions_them(self, desk: Desk, options: list[str]) -> None:
        owner = put(desk, run_id=7)
        orphan(desk, owner, SECOND, Run(8, ""))
        result = desk.run("journal", "--windows", *options)
        assert result.err == "1 orphan not canceled yet; 'manage.py journal --orphans' shows why\n"
        assert len(result.json if options else result.rows[1:]) == 1
        assert desk.run("resume", *options).err == result.err
        assert desk.run("resume", "--route", owner.key.route, *options).err == ""
        assert desk.run("redrive", "--all", "--state", "claimed").out.startswith("nothing to redrive")

    def test_records_of_their_own_are_shown_for_what_they_are(self, desk: Desk) -> None:
        orphan(desk, put(desk), SECOND, Run(8, ""))
        for route, name in ((ORPHANS, "(orphan)"), (RESERVATIONS, "(adopted run)")):
            (record,) = (one for one in desk.records if one.key.route == route)
            assert f"event     {name}\n" in desk.run("journal", "show", record.key.key).out

    def test_lost_notifications_are_mentioned(self, desk: Desk) -> None:
        put(desk)
        losses, journal = Losses(), Journal(desk.store)
        losses.add(3, "HTTP 403")
        losses.write(journal)
        losses.add(4, "the topic was too slow")
        losses.write(journal)
        result = desk.run("journal")
        assert result.err == "7 notifications lost; the last reason: the topic was too slow\n"
        assert len(result.rows[1:]) == 1
        journal.write_once(JournalKey(LOST_NOTIFICATIONS, "ab" * 32), State.NOTED, "{")
        result = desk.run("journal")
        assert result.code == 1
        assert "7 notifications lost" in result.err
        assert "1 record cannot be read:" in result.err
        assert "event     (lost notifications)\n" in desk.run("journal", "show", "abab").out

    def test_none_and_one_that_cannot_be_read(self, desk: Desk) -> None:
        owner = put(desk)
        assert desk.run("journal", "--orphans").out == f"no orphans in the journal {desk.folder / 'journal.sqlite3'}\n"
        orphan(desk, owner, SECOND, None, text="{}")
        assert "another program has changed it: repair or delete the record\n" in desk.run("journal").err

    @pytest.mark.parametrize("option", [["--state", "parked"], ["--windows"], ["--newer-than", "1d"]])
    def test_other_filters_are_refused(self, desk: Desk, option: list[str]) -> None:
        desk.fails(
            2, "--orphans can be combined only with --route, --limit and --json", "journal", "--orphans", *option
        )


class TestBrokenConfiguration:
    @pytest.mark.parametrize("command", ["journal", "journal show 0000"])
    def test_routes_may_be_invalid_and_credentials_missing(self, desk: Desk, command: str) -> None:
        put(desk, key="0000")
        desk.file("routes: [", "routes.yaml")
        desk.settings = {"AZURE_DEVOPS_EXT_PAT": "", "AZURE_DEVOPS_AUTH": "pat", "AZURE_CLOUD": "AzureUSGovernment"}
        result = desk.process(*command.split())
        assert (result.code, result.err) == (0, "")

    def test_reading_does_not_create_a_missing_journal(self, desk: Desk) -> None:
        journal = desk.folder / "journal.sqlite3"
        desk.fails(2, f"the journal {journal} does not exist; check JOURNAL_CONNECTION", "journal")
        assert not journal.exists()
        journal.write_text("this is not a database, in spite of its name" * 100)
        desk.fails(2, "does not answer: file is not a database", "journal")

    def test_all_wrong_settings_are_reported(self, desk: Desk) -> None:
        desk.settings = {"JOURNAL_CONNECTION": "AccountName=x;AccountKey=canary", "JOURNAL_RETENTION_DAYS": "x"}
        result = desk.run("journal")
        assert (result.code, [line.split()[0] for line in result.err.splitlines()[1:]]) == (2, list(desk.settings))


class TestShow:
    def test_one_record(self, busy_desk: Desk) -> None:
        busy_desk.routes(WRONG)
        busy_desk.deliver()
        (record,) = busy_desk.records
        busy_desk.routes(RIGHT)
        busy_desk.clock = lambda: record.history[-1].at + timedelta(hours=3)
        (document,) = busy_desk.run("journal", "--json").json
        pretty = {name: json.dumps(document[name], indent=2) for name in ("event", "request")}
        steps = [f"{step.at:%Y-%m-%d %H:%M:%S} UTC" for step in record.history]
        digest = load_configuration(busy_desk.environment, busy_desk.folder, NAMES).routes.digest
        assert (
            busy_desk.run("journal", "show", record.key.key[:6].upper()).out
            == f"""\
key       {record.key.key}
route     evaluate
state     parked, for 3h
reason    {record.reason}
event     RunCompleted event-1
subject   subject
routes    digest {record.routes}; routes.yaml now has {digest}

event:
{pretty["event"]}

request:
{pretty["request"]}

history:
  {steps[0]}  claimed
  {steps[1]}  parked      {record.reason}

redrive:
  evaluate  would queue  model-evaluation in contoso/mlops on main; runId=run-1, experimentName=train
"""
        )

    def test_as_json(self, busy_desk: Desk) -> None:
        record = busy_desk.park()
        document = busy_desk.run("journal", "show", record.key.key, "--json").json
        redrive = document.pop("redrive")
        assert document.pop("gathered_events") == []
        assert [document] == busy_desk.run("journal", "--json").json
        request = redrive["decisions"][0].pop("request")
        decision = {"route": "evaluate", "key": record.key.key, "refused": ""}
        assert redrive == {"looks_first": False, "why_nothing": "", "decisions": [decision]}
        assert (request["pipeline"], request["branch"]) == ("model-evaluation", "main")
        assert request["parameters"] == {"runId": "run-1", "experimentName": "train"}

    def test_a_record_that_would_be_parked_again_and_unreadable_routes(self, desk: Desk) -> None:
        show = ("journal", "show", desk.park().key.key)
        desk.routes(TRIAGE)
        (decision,) = desk.run(*show, "--json").json["redrive"]["decisions"]
        assert decision["request"] is None
        assert "the route was removed" in decision["refused"]
        assert desk.run(*show).rows[-1] == ["evaluate", "would park", decision["refused"]]
        (desk.folder / "routes.yaml").unlink()
        unknown = desk.run(*show, "--json").json["redrive"]["unknown"]
        assert unknown.startswith("the routes cannot be read")
        assert desk.run(*show).out.endswith(f"\nredrive: not known: {unknown}\n")

    def test_the_run_of_a_queued_record(self, busy_desk: Desk) -> None:
        busy_desk.deliver()
        (record,) = busy_desk.records
        out = busy_desk.run("journal", "show", record.key.key).out
        assert f": run 501 {record.run_url}\n" in out
        assert out.endswith("redrive: nothing to do: it is queued; nothing is left to do\n")

    def test_an_event_that_is_not_json(self, desk: Desk) -> None:
        desk.deliver("{nonsense")
        (document,) = desk.run("journal", "--route", "$unrouted", "--json").json
        assert (document["event"], document["request"]) == ("{nonsense", None)
        assert desk.run("journal").rows[1][4] == "(unreadable)"
        lines = desk.run("journal", "show", document["key"]).out.splitlines()
        assert lines[1] == "route     $unrouted (checked against no route)"
        assert lines[lines.index("event:") + 1] == "{nonsense"
        assert "request:" not in lines

    def test_a_record_that_already_exists_under_the_new_key(self, busy_desk: Desk) -> None:
        record = busy_desk.park(runTags={"team": "blue"})
        busy_desk.routes(RIGHT + "\nonce_per: '{{ run_tags.team }}'")
        busy_desk.deliver(run_completed("other", runTags={"team": "blue"}))
        last = busy_desk.run("journal", "show", record.key.key).rows[-1]
        assert last[1] == "duplicate"
        assert last[2].startswith("already queued: run 501 http")

    def test_an_ambiguous_prefix_lists_the_keys_and_prefers_occurrences_to_windows(self, desk: Desk) -> None:
        found = [put(desk, key=f"abcd{number}").key.key for number in (1, 2)]
        result = desk.run("journal", "show", "abcd")
        assert (result.code, result.out) == (2, "")
        first, *candidates = result.err.splitlines()
        assert first == "manage.py: 2 keys begin with abcd; give more digits:"
        assert sorted(candidates) == [f"  {key} evaluate queued RunCompleted event-1" for key in found]
        put(desk, key="abcd23", route="$cooldown.evaluate")
        for key, route in (("abcd2", "evaluate"), ("abcd23", "$cooldown.evaluate")):
            assert desk.run("journal", "show", key).rows[1] == ["route", route]
