"""``manage.py journal``: finds, filters and shows what is in the journal."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from shared.composition import open_store
from shared.journal.records import Entry, JournalKey, Record, State, Step, Store
from shared.settings import load_settings
from tests.support.building import run_completed
from tests.tools.conftest import RIGHT, TRIAGE, WRONG, Desk

NOW = datetime.now(UTC)
_numbers = count(1)


def put(desk: Desk, **changes: object) -> Record:
    """A record, as the app could have written it; ``age`` is that of its last change."""
    key = str(changes.pop("key", f"{next(_numbers):064x}"))
    age = changes.pop("age", timedelta())
    assert isinstance(age, timedelta)
    state = changes.pop("state", State.QUEUED)
    assert isinstance(state, State)
    at = NOW - age
    entry = Entry("event-1", "Microsoft.MachineLearningServices.RunCompleted", "subject", run_completed())
    record = Record(
        key=JournalKey(str(changes.pop("route", "evaluate")), key),
        state=state,
        entry=entry,
        claimed_at=at - timedelta(seconds=1),
        lease_until=at,
        settled_at=at,
        history=(Step(at - timedelta(seconds=1), State.CLAIMED, ""), Step(at, state, "note")),
    )
    written = store(desk).insert(replace(record, **changes))  # type: ignore[arg-type]
    assert written is not None
    return written


def store(desk: Desk) -> Store:
    return open_store(load_settings(desk.environment, desk.folder))


def keys(desk: Desk, *arguments: object) -> list[str]:
    ended = desk.run("journal", *arguments, "--json")
    assert ended.code == 0
    return [record["key"] for record in ended.json]


class TestList:
    def test_as_a_process(self, busy_desk: Desk) -> None:
        busy_desk.deliver(run_completed("a"))
        busy_desk.routes(WRONG)
        busy_desk.deliver(run_completed("b"))
        ended = busy_desk.process("journal")
        assert (ended.code, ended.err) == (0, "")
        head, parked, queued = ended.rows
        assert head == ["KEY", "ROUTE", "STATE", "AGE", "EVENT", "RUN", "REASON"]
        by_state = {record.state: record for record in busy_desk.records}
        assert queued[0] == by_state[State.QUEUED].key.key[:12]
        assert queued[1:3] + queued[4:] == ["evaluate", "queued", "RunCompleted event-1", "501"]
        assert parked[1:3] + parked[4:6] == ["evaluate", "parked", "RunCompleted event-1", "-"]
        assert parked[6] == by_state[State.PARKED].reason, "nothing is cut where nobody looks at a terminal"
        assert ended.out.isascii(), "no boxes"
        assert busy_desk.process("journal", "list").rows[0] == head

    def test_json_has_every_field(self, desk: Desk) -> None:
        record = put(desk, run_id=7, run_url="https://dev.azure.com/x", reason="found")
        (document,) = desk.run("journal", "--json").json
        assert document == {
            "key": record.key.key,
            "route": "evaluate",
            "state": "queued",
            "changed_at": NOW.isoformat(),
            "run_id": 7,
            "run_url": "https://dev.azure.com/x",
            "reason": "found",
            "event_id": "event-1",
            "event_type": "Microsoft.MachineLearningServices.RunCompleted",
            "subject": "subject",
            "claimed_at": (NOW - timedelta(seconds=1)).isoformat(),
            "lease_until": NOW.isoformat(),
            "settled_at": NOW.isoformat(),
            "event": json.loads(run_completed()),
            "request": None,
            "document": None,
            "history": [
                {"at": (NOW - timedelta(seconds=1)).isoformat(), "state": "claimed", "note": ""},
                {"at": NOW.isoformat(), "state": "queued", "note": "note"},
            ],
        }

    def test_the_request_as_it_was_asked_for(self, desk: Desk) -> None:
        desk.deliver()
        (document,) = desk.run("journal", "--json").json
        assert document["state"] == "released"
        assert document["request"]["parameters"] == {"runId": "run-1", "experimentName": "train"}

    def test_those_that_changed_last_come_first(self, desk: Desk) -> None:
        old, new, middle = (put(desk, age=timedelta(hours=hours)).key.key for hours in (3, 1, 2))
        assert keys(desk) == [new, middle, old]

    def test_filters(self, desk: Desk) -> None:
        parked = put(desk, state=State.PARKED, age=timedelta(hours=3)).key.key
        queued = put(desk, age=timedelta(hours=1)).key.key
        other = put(desk, route="other", state=State.UNCERTAIN, age=timedelta(minutes=90)).key.key
        assert keys(desk, "--route", "other") == [other]
        assert keys(desk, "--state", "parked") == [parked]
        assert keys(desk, "--state", "parked", "--state", "uncertain") == [other, parked]
        assert keys(desk, "--state", "parked", "--route", "other") == []
        assert keys(desk, "--older-than", "1h15m") == [other, parked]
        assert keys(desk, "--newer-than", "2h") == [queued, other]
        assert keys(desk, "--newer-than", "2h", "--older-than", "1h15m") == [other]

    def test_age_counts_from_the_last_change_and_not_from_the_claim(self, desk: Desk) -> None:
        redriven = put(desk, age=timedelta(minutes=1), claimed_at=NOW - timedelta(days=3)).key.key
        assert keys(desk, "--older-than", "1d") == []
        assert keys(desk, "--newer-than", "1h") == [redriven]

    def test_a_limit_says_what_it_leaves_out(self, desk: Desk) -> None:
        expected = [put(desk, age=timedelta(minutes=minutes)).key.key for minutes in range(60)]
        default = desk.run("journal", "--json")
        assert [record["key"] for record in default.json] == expected[:50]
        assert default.err == "50 of 60 records are shown; --limit shows more\n"
        assert keys(desk, "--limit", "2") == expected[:2]
        assert desk.run("journal", "--limit", "60").err == ""
        assert desk.run("journal", "--limit", "0").code == 2

    def test_cooldown_windows_only_where_they_are_asked_for(self, desk: Desk) -> None:
        cooled = RIGHT + "\ncooldown: 6h"
        desk.routes(cooled, TRIAGE)
        desk.deliver()
        routes = [row[1] for row in desk.run("journal").rows[1:]]
        assert sorted(routes) == ["evaluate", "triage"]
        with_windows = desk.run("journal", "--windows", "--route", "evaluate").rows[1:]
        assert sorted(row[1] for row in with_windows) == ["$cooldown.evaluate", "evaluate"]
        (window,) = [row for row in with_windows if row[1].startswith("$")]
        (holder,) = [row for row in with_windows if row[1] == "evaluate"]
        assert window[4:] == ["(cooldown window)", "-", f"held by {holder[0]}"]

    def test_an_unreadable_event(self, desk: Desk) -> None:
        desk.deliver("{nonsense")
        (row,) = desk.run("journal", "--route", "$unrouted").rows[1:]
        assert (row[1], row[4]) == ("$unrouted", "(unreadable)")
        assert desk.run("journal", "--json").json[0]["event"] == "{nonsense"

    def test_an_empty_result_says_so(self, desk: Desk) -> None:
        put(desk)
        journal = desk.folder / "journal.sqlite3"
        assert desk.run("journal", "--route", "nope").out == f"no record fits; looked in the journal {journal}\n"
        store(desk).delete(desk.records[0])
        assert desk.run("journal").out == f"no record in the journal {journal}\n"
        assert desk.run("journal", "--json").json == []

    @pytest.mark.parametrize(
        "arguments", [("--older-than", "soon"), ("--older-than", "99999d99999h"), ("--state", "x")]
    )
    def test_what_cannot_be_is_told_in_one_line(self, desk: Desk, arguments: tuple[str, ...]) -> None:
        ended = desk.run("journal", *arguments)
        assert (ended.code, ended.out) == (2, "")
        assert ended.err.count("\n") == 1

    def test_nothing_reaches_a_terminal_that_it_could_obey(self, desk: Desk) -> None:
        put(desk, reason="\x1b[2Jgone\r\nsecond \u202eline \x9b1m", state=State.PARKED)
        ended = desk.run("journal")
        assert not set("\x1b\r\x9b\u202e") & set(ended.out)
        assert len(ended.rows) == 2


class TestAtThreeInTheMorning:
    @pytest.mark.parametrize("command", [["journal"], ["journal", "show", "0000"]])
    def test_routes_may_be_broken_and_credentials_missing(self, desk: Desk, command: list[str]) -> None:
        put(desk, key="0000" * 16)
        (desk.folder / "routes.yaml").write_text("routes: [")
        desk.settings = {"AZURE_DEVOPS_EXT_PAT": "", "AZURE_DEVOPS_AUTH": "pat"}
        ended = desk.process(*command)
        assert (ended.code, ended.err) == (0, "")

    def test_there_is_no_journal_and_looking_makes_none(self, desk: Desk) -> None:
        ended = desk.process("journal")
        assert (ended.code, ended.out) == (2, "")
        assert ended.err == (
            f"manage.py: there is no journal {desk.folder / 'journal.sqlite3'}; check JOURNAL_CONNECTION, or deliver "
            "a first event, which makes it\n"
        )
        assert not (desk.folder / "journal.sqlite3").exists()

    def test_the_journal_is_something_else(self, desk: Desk) -> None:
        (desk.folder / "journal.sqlite3").write_text("this is no database, whatever its name says" * 100)
        ended = desk.process("journal")
        assert ended.code == 2
        assert "does not answer: file is not a database" in ended.err

    def test_settings_that_are_wrong_are_all_named(self, desk: Desk) -> None:
        desk.settings = {"JOURNAL_CONNECTION": "AccountName=x;AccountKey=canary", "JOURNAL_RETENTION_DAYS": "x"}
        ended = desk.run("journal")
        assert ended.code == 2
        assert [line.split()[0] for line in ended.err.splitlines()[1:]] == [
            "JOURNAL_CONNECTION",
            "JOURNAL_RETENTION_DAYS",
        ]


class TestShow:
    def test_all_about_one_record(self, busy_desk: Desk) -> None:
        busy_desk.routes(WRONG)
        busy_desk.deliver()
        (record,) = busy_desk.records
        busy_desk.routes(RIGHT)
        ended = busy_desk.process("journal", "show", record.key.key[:6].upper())
        assert ended.code == 0
        lines = ended.out.splitlines()
        assert lines[:2] == [f"key       {record.key.key}", "route     evaluate"]
        assert re.fullmatch(r"state     parked, for \ds", lines[2])
        assert lines[3].startswith("reason    HTTP 400")
        assert lines[4:6] == ["event     RunCompleted event-1", "subject   subject"]
        event, request = (json.loads(part) for part in re.findall(r"^\{.*?^\}", ended.out, re.MULTILINE | re.DOTALL))
        assert event == json.loads(run_completed())
        assert request["parameters"] == {"run": "run-1", "experimentName": "train"}
        history = [row[1:] for row in ended.rows if row and row[0].endswith(" UTC")]
        assert history == [["claimed"], ["parked", record.reason]]
        assert f"{record.history[0].at:%Y-%m-%d %H:%M:%S} UTC" in ended.out
        assert lines[-2:] == [
            "redriving it:",
            "  evaluate  would queue  model-evaluation in contoso/mlops on main; runId=run-1, experimentName=train",
        ]

    def test_as_json(self, busy_desk: Desk) -> None:
        record = busy_desk.park()
        document = busy_desk.run("journal", "show", record.key.key, "--json").json
        redrive = document.pop("redrive")
        assert [document] == busy_desk.run("journal", "--json").json
        request = redrive["decisions"][0].pop("request")
        assert redrive == {
            "looks_first": False,
            "why_nothing": "",
            "decisions": [{"route": "evaluate", "key": record.key.key, "refused": ""}],
        }
        assert (request["pipeline"], request["branch"]) == ("model-evaluation", "main")
        assert request["parameters"] == {"runId": "run-1", "experimentName": "train"}

    def test_where_it_would_be_parked_again(self, desk: Desk) -> None:
        record = desk.park()
        desk.routes(TRIAGE)
        reason = "redriven, but the route is gone, or is for another type of event now"
        assert desk.run("journal", "show", record.key.key).out.endswith(f"  evaluate  would park  {reason}\n")
        document = desk.run("journal", "show", record.key.key, "--json").json
        assert document["redrive"]["decisions"][0]["refused"] == reason
        assert document["redrive"]["decisions"][0]["request"] is None

    def test_the_run_of_one_that_is_done(self, busy_desk: Desk) -> None:
        busy_desk.deliver()
        (record,) = busy_desk.records
        out = busy_desk.run("journal", "show", record.key.key).out
        assert f": run 501 {record.run_url}\n" in out
        assert out.endswith("redriving it: nothing, as it is queued; nothing is left to do\n")

    def test_where_the_routes_cannot_be_read(self, desk: Desk) -> None:
        record = desk.park()
        (desk.folder / "routes.yaml").unlink()
        last = desk.run("journal", "show", record.key.key).out.splitlines()[-1]
        assert last.startswith("redriving it: not known, as the routes cannot be read")
        unknown = desk.run("journal", "show", record.key.key, "--json").json["redrive"]["unknown"]
        assert last == f"redriving it: not known, as {unknown}"

    def test_an_event_that_is_no_json(self, desk: Desk) -> None:
        desk.deliver("{nonsense")
        (record,) = desk.records
        lines = desk.run("journal", "show", record.key.key).out.splitlines()
        assert lines[1] == "route     $unrouted (no route could be asked)"
        assert lines[lines.index("event:") + 1] == "{nonsense"
        assert "request:" not in lines

    def test_what_is_there_already_under_the_key_of_today(self, busy_desk: Desk) -> None:
        record = busy_desk.park(runTags={"team": "blue"})
        busy_desk.routes(RIGHT + "\nonce_per: '{{ run_tags.team }}'")
        busy_desk.deliver(run_completed("other", runTags={"team": "blue"}))
        last = busy_desk.run("journal", "show", record.key.key).rows[-1]
        assert last[1] == "duplicate"
        assert last[2].startswith("queued before: run 501 http")

    def test_a_prefix_of_several_keys_lists_them(self, desk: Desk) -> None:
        for number in (1, 2):
            put(desk, key=f"abcd{number}" + "0" * 59)
        ended = desk.run("journal", "show", "abcd")
        assert (ended.code, ended.out) == (2, "")
        first, *candidates = ended.err.splitlines()
        assert first == "manage.py: 2 keys begin with abcd; give more digits:"
        assert sorted(candidates) == [
            f"  abcd{number}{'0' * 59} evaluate queued RunCompleted event-1" for number in (1, 2)
        ]
        assert desk.run("journal", "show", "abcd2").code == 0

    def test_a_window_is_shown_where_nothing_else_fits(self, desk: Desk) -> None:
        put(desk, key="abcd" + "0" * 60)
        put(desk, key="abcd" + "1" * 60, route="$cooldown.evaluate")
        assert desk.run("journal", "show", "abcd").rows[1] == ["route", "evaluate"]
        assert desk.run("journal", "show", "abcd1").rows[1] == ["route", "$cooldown.evaluate"]

    @pytest.mark.parametrize("key", ["abc", "xyz0", "", "https://x/?sig=canary"])
    def test_what_is_no_key(self, desk: Desk, key: str) -> None:
        put(desk)
        ended = desk.run("journal", "show", key)
        assert ended.code == 2
        assert ended.err.startswith("manage.py: a KEY is the beginning of a journal key, 4 hexadecimal digits or more")

    def test_what_is_not_there(self, desk: Desk) -> None:
        put(desk)
        ended = desk.run("journal", "show", "ffff")
        assert (ended.code, ended.err) == (
            2,
            "manage.py: no record's key begins with ffff; 'manage.py journal' lists them\n",
        )
