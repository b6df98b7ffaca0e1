"""The contract of every journal store. The same tests run for each backend."""

import multiprocessing
import sqlite3
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from shared.errors import JournalUnavailable, RunAlreadyOwned
from shared.journal.records import NO_EVENT, JournalKey, Record, State, Store
from shared.journal.sqlite import SqliteStore, _connect
from tests.support.journal import version_0_1_0
from tests.support.journal.records import NOW, record, written


class TestStore:
    @pytest.fixture
    def store(self, each_store: Store) -> Store:
        """Every backend, instead of the suite's usual one."""
        return each_store

    def test_an_inserted_record_is_read_back_unchanged(self, store: Store) -> None:
        inserted = written(store.insert(record(run_id=5, run_url="u", reason="why", state=State.QUEUED)))
        assert inserted.version
        assert store.get(JournalKey("route", "ab12")) == inserted

    def test_what_is_known_about_the_request_is_read_back(self, store: Store) -> None:
        known: dict[str, Any] = {"lost_until": NOW, "searched_until": NOW + timedelta(seconds=9), "sender": "ab"}
        inserted = written(store.insert(record(**known)))
        assert store.get(inserted.key) == inserted == record(**known, version=inserted.version)
        forgotten = written(store.replace(record(version=inserted.version)))
        assert store.get(inserted.key) == forgotten == record(version=forgotten.version)

    def test_a_record_that_is_not_about_an_event_keeps_its_document(self, store: Store) -> None:
        inserted = written(store.insert(record(route="$wait.a", entry=NO_EVENT, document='{"ü\x00": 1}')))
        assert store.get(inserted.key) == inserted
        replaced = written(store.replace(inserted._replace(document="{}")))
        assert store.get(inserted.key) == replaced

    def test_a_key_is_inserted_once_on_each_route(self, store: Store) -> None:
        first = written(store.insert(record()))
        assert store.insert(record(reason="second")) is None
        assert store.insert(record(route="another")) is not None
        assert store.get(first.key) == first

    def test_replacing_needs_the_current_version_and_returns_a_new_one(self, store: Store) -> None:
        first = written(store.insert(record()))
        second = written(store.replace(first._replace(state=State.PARKED, reason="because")))
        assert second == first._replace(state=State.PARKED, reason="because", version=second.version)
        assert second.version != first.version
        assert store.replace(first._replace(reason="late")) is None
        assert store.get(first.key) == second

    def test_a_missing_record_is_neither_read_nor_replaced(self, store: Store) -> None:
        assert store.get(JournalKey("route", "ab12")) is None
        assert store.replace(record(version="1")) is None

    def test_records_are_written_together(self, store: Store) -> None:
        first = written(store.insert(record("a")))
        assert store.write_together([record("b"), first._replace(state=State.RELEASED, reason="both")])
        changed, added = written(store.get(first.key)), written(store.get(JournalKey("route", "b")))
        assert changed == first._replace(state=State.RELEASED, reason="both", version=changed.version)
        assert changed.version != first.version
        assert added == record("b", version=added.version)
        assert store.replace(added) is not None

    def test_new_records_are_written_together(self, store: Store) -> None:
        assert store.write_together([record("a"), record("b"), record("c")])
        assert {written(store.get(JournalKey("route", key))).key.key for key in "abc"} == {"a", "b", "c"}

    @pytest.mark.parametrize("is_first", [True, False])
    def test_none_is_written_if_one_is_not_new(self, store: Store, is_first: bool) -> None:
        first = written(store.insert(record("a")))
        records = [record("a", reason="again"), record("b")]
        assert not store.write_together(records if is_first else records[::-1])
        assert store.get(first.key) == first
        assert store.get(JournalKey("route", "b")) is None

    @pytest.mark.parametrize("is_first", [True, False])
    def test_none_is_written_if_one_has_changed(self, store: Store, is_first: bool) -> None:
        old = written(store.insert(record("a")))
        new = written(store.replace(old._replace(reason="new")))
        records = [old._replace(reason="late"), record("b")]
        assert not store.write_together(records if is_first else records[::-1])
        assert store.get(new.key) == new
        assert store.get(JournalKey("route", "b")) is None

    def test_each_of_many_threads_writes_its_record_with_a_shared_one(self, store: Store) -> None:
        """A count that is kept in a record is exact, because it is written together with what it counts."""
        store.insert(record("shared", reason="0"))

        def count(number: int) -> None:
            while True:
                shared = written(store.get(JournalKey("route", "shared")))
                if store.write_together([record(f"n{number}"), shared._replace(reason=str(int(shared.reason) + 1))]):
                    return

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(count, range(20)))
        assert written(store.get(JournalKey("route", "shared"))).reason == "20"

    def test_a_run_belongs_to_one_record_of_a_route(self, store: Store) -> None:
        written(store.insert(record("a", run_id=5)))
        other = written(store.insert(record("b")))
        with pytest.raises(RunAlreadyOwned, match="run 5 belongs to another record of route route"):
            store.replace(other._replace(run_id=5))
        assert store.get(other.key) == other
        elsewhere = written(store.insert(record("c", route="elsewhere")))
        assert store.replace(elsewhere._replace(run_id=5)) is not None

    def test_a_record_can_share_the_id_of_the_run_of_another(self, store: Store) -> None:
        """Azure DevOps has started its run ids again, so two runs of the route have the same id."""
        first = written(store.insert(record("a", run_id=5)))
        second = written(store.replace(written(store.insert(record("b")))._replace(run_id=5, shares_run_id=True)))
        third = written(store.insert(record("c", run_id=5, shares_run_id=True)))
        assert [store.get(one.key) for one in (first, second, third)] == [first, second, third]
        second = written(store.replace(second._replace(reason="again")))
        other = written(store.insert(record("d")))
        with pytest.raises(RunAlreadyOwned):
            store.replace(other._replace(run_id=5))
        assert store.delete(second)
        with pytest.raises(RunAlreadyOwned):
            store.replace(other._replace(run_id=5))
        assert store.delete(first)
        assert store.replace(other._replace(run_id=5)) is not None

    def test_records_that_may_own_a_run_name_it_or_could_have_queued_it(self, store: Store) -> None:
        for run_id in (4, 5, 6, 7):
            store.insert(record(f"{run_id}", state=State.QUEUED, run_id=run_id))
        store.insert(record("5", "elsewhere", state=State.QUEUED, run_id=5))
        store.insert(record("5b", "elsewhere", state=State.QUEUED, run_id=5, shares_run_id=True))
        store.insert(record("ab", "$cooldown.route", state=State.CLAIMED, entry=NO_EVENT, document="ab"))
        store.insert(record("aa", "$unrouted", state=State.PARKED))
        for state in State:
            store.insert(record(state, "elsewhere", state=state))

        def found(*run_ids: int) -> set[tuple[str, str]]:
            return {(one.key.route, one.key.key) for one in store.may_own(run_ids)}

        unknown = {("$unrouted", "aa"), *(("elsewhere", state) for state in ("claimed", "uncertain", "parked"))}
        assert found() == found(1) == unknown
        assert found(4, 7) == unknown | {("route", "4"), ("route", "7")}
        assert found(5) == unknown | {("route", "5"), ("elsewhere", "5"), ("elsewhere", "5b")}
        assert all(one == store.get(one.key) for one in store.may_own([5]))

    def test_a_record_that_has_changed_is_not_deleted(self, store: Store) -> None:
        first = written(store.insert(record()))
        second = written(store.replace(first))
        assert not store.delete(first)
        assert store.get(first.key) == second
        assert store.delete(second)
        assert not store.delete(second)

    def test_one_of_many_records_gets_the_run(self, store: Store) -> None:
        records = [written(store.insert(record(f"{number}"))) for number in range(8)]
        start = threading.Barrier(8)

        def race(mine: Record) -> bool:
            start.wait()
            try:
                return store.replace(mine._replace(run_id=5)) is not None
            except RunAlreadyOwned:
                return False

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(race, records)) == 1

    def test_one_of_many_threads_inserts_and_one_replaces(self, store: Store) -> None:
        start = threading.Barrier(16)

        def race() -> tuple[bool, bool]:
            start.wait()
            inserted = store.insert(record()) is not None
            start.wait()
            found = written(store.get(JournalKey("route", "ab12")))
            start.wait()
            return inserted, store.replace(found) is not None

        with ThreadPoolExecutor(16) as pool:
            results = [future.result() for future in [pool.submit(race) for _ in range(16)]]
        assert sum(inserted for inserted, _ in results) == 1
        assert sum(replaced for _, replaced in results) == 1


def _insert_many(path: Path, count: int) -> list[str]:
    store = SqliteStore(path)
    taken = [str(number) for number in range(count) if store.insert(record(str(number))) is not None]
    store.close()
    return taken


class TestSqlite:
    def test_many_processes_can_create_and_share_one_file(self, tmp_path: Path) -> None:
        context = multiprocessing.get_context("spawn")
        with context.Pool(4) as pool:
            taken = pool.starmap(_insert_many, [(tmp_path / "shared.sqlite3", 50)] * 4)
            pool.close()
            pool.join()
        everything = sorted(key for keys in taken for key in keys)
        assert everything == sorted(str(number) for number in range(50))

    def test_records_survive_a_restart(self, tmp_path: Path) -> None:
        first = SqliteStore(tmp_path / "j")
        inserted = written(first.insert(record()))
        first.close()
        second = SqliteStore(tmp_path / "j")
        assert second.get(inserted.key) == inserted
        second.close()

    def test_only_the_owner_can_read_the_files(self, tmp_path: Path) -> None:
        """Events hold names and tags of models. The files next to the journal hold the same."""
        store = SqliteStore(tmp_path / "j")
        store.insert(record())
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
        assert modes == dict.fromkeys(("j", "j-wal", "j-shm"), 0o600)
        store.close()

    @pytest.mark.parametrize("is_replaced", [False, True])
    def test_a_file_that_is_deleted_or_replaced_is_noticed(self, tmp_path: Path, is_replaced: bool) -> None:
        """No file is created, and nothing is read from the deleted one. If it comes back, it is used again."""
        path, away = tmp_path / "j", tmp_path / "away"
        store = SqliteStore(path)
        kept = written(store.insert(record("kept")))
        path.rename(away)
        if is_replaced:
            path.write_bytes(b"")
        for operation in (
            lambda: store.insert(record("lost")),
            lambda: store.replace(kept),
            lambda: store.delete(kept),
            lambda: store.get(kept.key),
            lambda: list(store.may_own([5])),
        ):
            with pytest.raises(JournalUnavailable, match=r"was deleted or replaced .* move the file back, or restart"):
                operation()
        assert path.exists() == is_replaced
        away.rename(path)
        assert store.get(JournalKey("route", "lost")) is not None, "written after an error, as by a late answer"
        store.close()

    def test_a_file_that_is_deleted_during_a_commit_is_noticed(self, tmp_path: Path) -> None:
        """A claim that only the deleted file has must not be used."""
        path = tmp_path / "j"
        store = SqliteStore(path)
        store.insert(record("first"))
        connection = store._writer._connection
        assert connection is not None
        connection.set_trace_callback(lambda sql: path.unlink() if sql == "COMMIT" else None)
        with pytest.raises(JournalUnavailable, match="was deleted or replaced"):
            store.insert(record("second"))
        store.close()

    def test_a_file_of_0_1_0_is_upgraded(self, tmp_path: Path) -> None:
        """0.1.0 wrote no version, and no run could be shared."""
        path = tmp_path / "j"
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(version_0_1_0.SCHEMA)
            insert = "INSERT INTO records VALUES ('route', 'ab12', 1, 'queued', 5, '2026', '', '{}')"
            connection.execute(insert)
            connection.commit()
            with closing(SqliteStore(path)) as store:
                assert store.insert(record("b", run_id=5, shares_run_id=True)) is not None
            assert connection.execute("PRAGMA user_version").fetchone() == (1,)
            assert connection.execute("SELECT key, shares_run FROM records").fetchall() == [("ab12", 0), ("b", 1)]
            connection.executescript(version_0_1_0.SCHEMA)
        with closing(SqliteStore(path)) as store:
            assert store.insert(record("c", run_id=5, shares_run_id=True)) is not None, "rolled back and upgraded again"

    def test_owners_are_found_with_both_indices(self, store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
        plans: list[str] = []

        def traced(path: Path) -> sqlite3.Connection:
            connection = _connect(path)

            def explain(sql: str) -> None:
                if sql.startswith("SELECT route"):
                    with closing(_connect(path)) as other:
                        plans.extend(row[-1] for row in other.execute(f"EXPLAIN QUERY PLAN {sql}"))

            connection.set_trace_callback(explain)
            return connection

        monkeypatch.setattr("shared.journal.sqlite._connect", traced)
        assert list(store.may_own([5])) == []
        assert {plan for plan in plans if " records" in plan} == {
            "SEARCH records USING INDEX by_run (run_id=?)",
            "SEARCH records USING INDEX by_state_and_age (state=?)",
        }

    def test_a_claim_survives_a_power_failure(self, store: SqliteStore) -> None:
        """By default, SQLite in WAL mode may lose the last commits; 2 means FULL."""
        with store.reading() as connection:
            assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
            assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)

    def test_a_path_that_cannot_be_opened_is_reported(self, tmp_path: Path) -> None:
        with pytest.raises(JournalUnavailable, match=r"the journal .*missing.* does not answer.*check that the disk"):
            SqliteStore(tmp_path / "missing" / "journal.sqlite3")

    def test_a_file_that_is_not_a_database_is_reported(self, tmp_path: Path) -> None:
        (tmp_path / "j").write_text("this is not a database, and is long enough to be recognized" * 10)
        with pytest.raises(JournalUnavailable, match="file is not a database"):
            SqliteStore(tmp_path / "j")

    def test_a_locked_file_is_reported_after_a_wait(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("shared.journal.sqlite.BUSY_SECONDS", 0.05)
        store = SqliteStore(tmp_path / "j")
        blocker = sqlite3.connect(tmp_path / "j", isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        with pytest.raises(JournalUnavailable, match="locked"):
            store.insert(record())
        blocker.execute("COMMIT")
        blocker.close()
        assert store.insert(record()) is not None
        store.close()
