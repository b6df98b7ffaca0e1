"""The digest of routes.yaml, and the note in the journal that says which one the app runs."""

from contextlib import closing
from pathlib import Path

import pytest

from handlers import NAMES
from shared.errors import UnreadableRecord
from shared.journal.journal import Journal
from shared.journal.records import Selection
from shared.journal.sqlite import SqliteStore
from shared.routing.routes_file import read_routes
from shared.routing.running import PARTITION, announce, running_routes
from shared.routing.table import RouteTable
from tests.support import ROOT

TEXT = (ROOT / "routes.yaml").read_text(encoding="utf-8")
SET = {"AZURE_DEVOPS_ORG_URL": "https://dev.azure.com/contoso", "AZURE_DEVOPS_PROJECT": "mlops"}


def digest(text: str, **environment: str) -> str:
    return read_routes(text, names=NAMES, environment={**SET, **environment}).table.digest


class TestDigest:
    @pytest.mark.parametrize(
        ("written", "otherwise"),
        [
            ("# The dispatch table", "# Another remark"),
            ("\n", "\r\n"),
            ("branch: main", 'branch: "main"'),
            ("      modelName: \"{{ model_name }}\"\n      modelVersion: \"{{ model_version }}\"\n",
             "      modelVersion: \"{{ model_version }}\"\n      modelName: '{{ model_name }}'\n"),
            ("{ model_tags.stage: candidate }", "{ model_tags.stage: other }"),  # in causes
        ],
    )  # fmt: skip
    def test_what_does_not_decide_does_not_count(self, written: str, otherwise: str) -> None:
        assert written in TEXT
        assert digest(TEXT.replace(written, otherwise)) == digest(TEXT) != ""

    @pytest.mark.parametrize(
        ("written", "otherwise"),
        [
            ("'candidate'", "'production'"),
            ("branch: main", "branch: release"),
            ("pipeline: triage", "pipeline: 7"),
            ("cooldown: 6h", "cooldown: 5h"),
            ("${AZURE_DEVOPS_PROJECT}", "mlops"),
            ("name: deploy-candidate", "name: deploy"),
        ],
    )
    def test_what_decides_counts(self, written: str, otherwise: str) -> None:
        assert written in TEXT
        assert "" != digest(TEXT.replace(written, otherwise)) != digest(TEXT)

    def test_a_parameter_counts_whatever_its_name(self) -> None:
        texts = [TEXT.replace("      reason:", f"      causes: {value}\n      reason:") for value in (1, 2)]
        assert digest(texts[0]) != digest(texts[1])

    def test_the_order_of_a_list_counts(self) -> None:
        one, other = (TEXT.replace("      reason:", f"      x: {x}\n      reason:") for x in ("[a, b]", "[b, a]"))
        assert "" != digest(one) != digest(other)

    def test_the_environment_does_not_count(self) -> None:
        assert digest(TEXT, AZURE_DEVOPS_PROJECT="other") == digest(TEXT)

    def test_it_is_the_same_in_every_version_of_python(self) -> None:
        assert digest("version: 1\nroutes: []") == "780db5f4"

    def test_a_file_with_mistakes_has_none(self) -> None:
        assert [digest(text) for text in ("", "version: 1\nroutes: &a [*a]", "version: 2\nroutes: []")] == [""] * 3


class TestRunningRoutes:
    def test_the_note_changes_only_with_the_routes(self, tmp_path: Path) -> None:
        with closing(SqliteStore(tmp_path / "journal.sqlite3")) as store:
            journal = Journal(store)
            assert running_routes(journal) is None
            announce(journal, RouteTable([], "1a2b3c4d"))
            (first,) = store.select(Selection(PARTITION), 2)
            announce(journal, RouteTable([], "1a2b3c4d"))
            assert list(store.select(Selection(PARTITION), 2)) == [first]
            announce(journal, RouteTable([], "5e6f7a8b"))
            running = running_routes(journal)
        assert running is not None
        assert (running.digest, running.count) == ("5e6f7a8b", 0)
        assert running.since > first.claimed_at

    def test_another_program_has_changed_it(self, tmp_path: Path) -> None:
        with closing(SqliteStore(tmp_path / "journal.sqlite3")) as store:
            journal, table = Journal(store), RouteTable([], "1a2b3c4d")
            announce(journal, table)
            (note,) = store.select(Selection(PARTITION), 2)
            assert store.replace(note._replace(document="[]")) is not None
            with pytest.raises(UnreadableRecord):
                running_routes(journal)
            announce(journal, table)
            assert running_routes(journal) is not None
