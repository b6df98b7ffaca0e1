"""``manage.py doctor``: green where all is well, red with a next step where not, and never a trace."""

import base64
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from cryptography.fernet import Fernet

from devstack.azurite import Azurite
from devstack.processes import start
from shared.errors import CredentialUnavailable, JournalUnavailable
from shared.journal.probe import PROBED, probe_record, probe_store
from shared.journal.records import Selection
from shared.journal.sqlite import SqliteStore
from shared.journal.tables.backend import NO_TABLE_YET, probe_table
from tests.support import ROOT
from tests.support.canaries import secret
from tests.support.stores import OpenTables
from tests.tools.commands.test_send import answering
from tests.tools.conftest import NOWHERE, RIGHT, TRIAGE, WRONG, Desk, Ended
from tools.actions.examining import Endpoint, examine
from tools.actions.findings import Status, split_advice
from tools.installation import Installation

# No managed identity is looked for over the network.
SIGNED_OUT = ("AZURE_TOKEN_CREDENTIALS", "AzureCliCredential")
KEY = base64.b64encode(secret("account-key").encode()).decode()
NOT_SOLVED = "name: odd\nevent: RunCompleted\npipeline: triage\nwhen: run_id == experiment_id"


def found(ended: Ended) -> dict[str, list[tuple[str, str, str | None]]]:
    """Status, detail and next step of each finding, by check."""
    findings: dict[str, list[tuple[str, str, str | None]]] = {}
    for one in ended.json:
        findings.setdefault(one["check"], []).append((one["status"], one["detail"], one["next_step"]))
    return findings


def traces(desk: Desk) -> Any:
    """All that a doctor could have left behind at a desk."""
    files = sorted(path.name for path in desk.folder.iterdir() if path.suffix != ".log")
    runs = [] if desk.organization_url == NOWHERE else desk.runs
    return files, runs, desk.records if (desk.folder / "journal.sqlite3").exists() else None


@pytest.fixture
def examined(busy_desk: Desk) -> Iterator[Desk]:
    """A desk at which the doctor leaves everything as it was."""
    before = traces(busy_desk)
    yield busy_desk
    assert traces(busy_desk) == before


class TestAllIsWell:
    def test_as_a_process(self, busy_desk: Desk) -> None:
        busy_desk.settings = {"ROUTES_FILE": str(ROOT / "routes.yaml")}
        busy_desk.deliver()
        before = traces(busy_desk)
        log = busy_desk.folder / "host.log"
        with start(
            "devstack.host", "--app-dir", str(ROOT), env=busy_desk.environment, cwd=busy_desk.folder, log=log
        ) as host:
            ended = busy_desk.process("doctor", "--url", host.url)
        assert (ended.code, ended.err) == (0, "")
        rows = ended.rows
        assert [row[:2] for row in rows[:7]] == [
            ["ok", "settings"],
            ["ok", "routes"],
            ["ok", "journal"],
            ["ok", "secret"],
            ["skipped", "token"],
            ["skipped", "waits"],
            ["ok", "Azure DevOps"],
        ]
        assert [row[:2] for row in rows[7:19]] == [["ok", "pipeline"]] * 6 + [["ok", "queue"]] * 6
        assert rows[19][:2] == ["ok", "Event Grid"]
        assert rows[20] == ["20 checks: 18 ok, 2 skipped"]
        assert "\x1b" not in ended.out
        assert traces(busy_desk) == before

    def test_with_colour_on_a_terminal_alone(self, examined: Desk) -> None:
        assert "\x1b" not in examined.run("doctor").out

    def test_local_settings_are_named(self, examined: Desk) -> None:
        (examined.folder / "local.settings.json").write_text('{"Values": {}}')
        ((_, detail, _),) = found(examined.run("doctor", "--json"))["settings"]
        (examined.folder / "local.settings.json").unlink()
        assert detail == "read from the environment, and below it local.settings.json"


class TestJournal:
    def test_a_file_that_is_there(self, examined: Desk) -> None:
        SqliteStore(examined.folder / "journal.sqlite3").close()
        assert found(examined.run("doctor", "--json"))["journal"] == [
            ("ok", f"{examined.folder / 'journal.sqlite3'}: {PROBED}", None)
        ]
        assert examined.records == []
        for path in examined.folder.glob("journal.sqlite3*"):
            path.unlink()

    def test_a_file_that_is_not_there_yet_is_not_made(self, examined: Desk) -> None:
        ((status, detail, _),) = found(examined.run("doctor", "--json"))["journal"]
        assert (status, detail.endswith(f"there is none yet, and {examined.folder} takes one")) == ("ok", True)

    def test_a_folder_that_is_not_there(self, examined: Desk) -> None:
        examined.settings = {"JOURNAL_CONNECTION": f"sqlite:{examined.folder}/nope/journal.sqlite3"}
        ended = examined.run("doctor", "--json")
        ((status, detail, next_step),) = found(ended)["journal"]
        assert (ended.code, status, next_step) == (1, "failed", "make the folder, and let the app write to it")
        assert "none can be made: No such file or directory" in detail

    def test_what_is_no_journal(self, examined: Desk) -> None:
        path = examined.folder / "journal.sqlite3"
        path.write_text("This is no database, and long enough that SQLite has a look at it." * 20)
        ((status, detail, next_step),) = found(examined.run("doctor", "--json"))["journal"]
        path.unlink()
        assert status == "failed"
        assert "does not answer: file is not a database" in detail
        assert next_step == "check that the disk has room and the file can be written"

    def test_a_table_that_is_there(self, azurite: Azurite, open_tables: OpenTables) -> None:
        store = open_tables()
        written = store.insert(probe_record())
        assert written is not None
        assert probe_table(open_tables()._table) == PROBED
        assert list(store.select(Selection(), 10)) == [written]

    def test_a_table_that_is_not_there_yet_is_not_made(self, open_tables: OpenTables) -> None:
        for _ in range(2):
            assert probe_table(open_tables()._table) == NO_TABLE_YET

    def test_tables_in_azurite_as_the_settings_name_them(self, examined: Desk, azurite: Azurite) -> None:
        examined.settings = {"JOURNAL_CONNECTION": azurite.connection_string}
        ((status, detail, _),) = found(examined.run("doctor", "--json"))["journal"]
        assert (status, detail) in {("ok", f"in Azure Tables: {PROBED}"), ("ok", f"in Azure Tables: {NO_TABLE_YET}")}

    def test_a_wrong_key_is_told_before_a_missing_table(self, desk: Desk, azurite: Azurite) -> None:
        wrong = re.sub("AccountKey=[^;]+", f"AccountKey={KEY}", azurite.connection_string)
        desk.settings = {"JOURNAL_CONNECTION": wrong}
        ((status, _, next_step),) = found(desk.run("doctor", "--json"))["journal"]
        assert status == "failed"
        assert next_step is not None
        assert next_step.startswith("check the account key, or that the app's identity has the role")

    def test_nobody_answers(self, desk: Desk) -> None:
        desk.settings = {"JOURNAL_CONNECTION": f"AccountName=a;AccountKey={KEY};TableEndpoint=http://127.0.0.1:9/a;"}
        ((status, detail, next_step),) = found(desk.run("doctor", "--json"))["journal"]
        assert (status, next_step) == ("failed", "check that the storage account is there and may be reached from here")
        assert "ConnectionRefusedError" in detail

    @pytest.mark.parametrize(
        ("spoilt", "words"),
        [
            ({"insert": None}, "the probe's key is taken"),
            ({"get": None}, "does not give back what was written"),
            ({"delete": False}, "is left behind under the route \\$doctor"),
        ],
    )
    def test_a_store_that_does_not_do_as_it_should(self, tmp_path: Path, spoilt: dict[str, Any], words: str) -> None:
        class Spoilt(SqliteStore):
            def __getattribute__(self, name: str) -> Any:
                return (lambda *_: spoilt[name]) if name in spoilt else super().__getattribute__(name)

        with pytest.raises(JournalUnavailable, match=words):
            probe_store(Spoilt(tmp_path / "journal.sqlite3"))


class TestCredentials:
    def test_a_pat_that_is_rejected(self, examined: Desk) -> None:
        examined.settings = {"AZURE_DEVOPS_EXT_PAT": secret("wrong")}
        ended = examined.run("doctor", "--json")
        findings = found(ended)
        ((status, detail, next_step),) = findings["Azure DevOps"]
        assert (ended.code, status) == (1, "failed")
        assert "HTTP 203 asks to sign in" in detail
        assert next_step is not None
        assert next_step.startswith("renew the PAT, or add the app's identity")
        assert [one[0] for one in findings["pipeline"] + findings["queue"]] == ["skipped", "skipped"]

    def test_none(self, examined: Desk) -> None:
        examined.settings = {"AZURE_DEVOPS_EXT_PAT": ""}
        ended = examined.process("doctor")
        assert (ended.code, ended.err) == (1, "")
        assert ended.rows[:2] == [
            [
                "failed",
                "settings",
                (
                    "AZURE_DEVOPS_AUTH is 'pat' and there is none: set AZURE_DEVOPS_EXT_PAT, or KEY_VAULT_URL and "
                    "AZURE_DEVOPS_PAT_SECRET_NAME"
                ),
            ],
            ["next: correct the application settings, or local.settings.json"],
        ]
        statuses = {row[1]: row[0] for row in ended.rows[2:-1] if row[1] != "Event Grid"}
        assert statuses == {
            "routes": "ok",
            "journal": "ok",
            "secret": "skipped",
            "token": "skipped",
            "waits": "skipped",
            "Azure DevOps": "skipped",
        }

    def test_a_reference_that_was_not_resolved(self, examined: Desk) -> None:
        examined.settings = {
            "AZURE_DEVOPS_EXT_PAT": "@Microsoft.KeyVault(SecretUri=https://v.vault.azure.net/secrets/p)"
        }
        findings = found(examined.run("doctor", "--json"))
        ((status, detail, _),) = findings["secret"]
        assert (status, detail.partition(" that ")[0]) == ("failed", "AZURE_DEVOPS_EXT_PAT is a Key Vault reference")
        assert findings["Azure DevOps"][0][0] == "skipped"

    def test_a_vault_that_is_not_there(self, examined: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(*SIGNED_OUT)
        vault = {"KEY_VAULT_URL": "https://127.0.0.1:9", "AZURE_DEVOPS_PAT_SECRET_NAME": "pat"}
        examined.settings = {"AZURE_DEVOPS_EXT_PAT": "", **vault}
        ((status, detail, next_step),) = found(examined.run("doctor", "--json"))["secret"]
        assert (status, bool(detail), bool(next_step)) == ("failed", True, True)

    def test_identity_without_anybody_signed_in(self, examined: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(*SIGNED_OUT)
        examined.settings = {"AZURE_DEVOPS_AUTH": "identity"}
        findings = found(examined.run("doctor", "--json"))
        ((status, detail, next_step),) = findings["token"]
        assert findings["secret"] == [("skipped", "AZURE_DEVOPS_AUTH is 'identity', which needs none", None)]
        assert (status, detail.partition(":")[0]) == ("failed", "Microsoft Entra gives no token for Azure DevOps")
        assert next_step == "check the identity that AZURE_CLIENT_ID names, or sign in with 'az login' on a laptop"


class TestWaits:
    def test_keys_that_work(self, examined: Desk) -> None:
        examined.settings = {"WAIT_TOKEN_KEYS": Fernet.generate_key().decode()}
        ((status, detail, _),) = found(examined.run("doctor", "--json"))["waits"]
        assert (status, detail) == ("ok", "a token was encrypted and decrypted with the keys in WAIT_TOKEN_KEYS")

    def test_a_vault_that_is_not_there(self, examined: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(*SIGNED_OUT)
        examined.settings = {"KEY_VAULT_URL": "https://127.0.0.1:9", "WAIT_TOKEN_KEYS_SECRET_NAME": "wait-keys"}
        ((status, detail, next_step),) = found(examined.run("doctor", "--json"))["waits"]
        assert (status, "wait-keys" in detail, bool(next_step)) == ("failed", True, True)


class TestAzureDevOps:
    def test_nobody_answers(self, desk: Desk) -> None:
        ended = desk.run("doctor", "--json")
        ((status, detail, next_step),) = found(ended)["Azure DevOps"]
        assert (ended.code, status) == (1, "failed")
        assert detail.startswith(f"{NOWHERE}/mlops: no connection: ")
        assert next_step == "check AZURE_DEVOPS_ORG_URL, and the way there: DNS, proxy, firewall"

    def test_a_project_that_is_not_there(self, examined: Desk) -> None:
        examined.settings = {"AZURE_DEVOPS_PROJECT": "nope"}
        ((status, detail, _),) = found(examined.run("doctor", "--json"))["Azure DevOps"]
        assert (status, "HTTP 404: TF200016" in detail) == ("failed", True)

    def test_each_routes_pipeline(self, examined: Desk) -> None:
        examined.routes(
            RIGHT,
            "name: typo\nevent: RunCompleted\npipeline: model-evaluations",
            "name: by-id\nevent: RunCompleted\npipeline: 13\nparameters: { serviceName: x }",
            "name: wrong-id\nevent: RunCompleted\npipeline: 99",
            "name: off\nevent: RunCompleted\npipeline: 98\nenabled: false",
        )
        findings = found(examined.run("doctor", "--json"))
        assert [(status, detail.partition(":")[0]) for status, detail, _ in findings["pipeline"]] == [
            ("ok", "evaluate"),
            ("failed", "typo"),
            ("ok", "by-id"),
            ("failed", "wrong-id"),
        ]
        assert findings["pipeline"][0][1] == r"evaluate: \mlops\model-evaluation (11)"
        assert findings["pipeline"][1][2] == "did you mean 'model-evaluation'?"
        assert "has no pipeline 99, or the app may not see it" in findings["pipeline"][3][1]
        assert [status for status, _, _ in findings["queue"]] == ["ok", "skipped", "ok", "skipped"]

    def test_a_run_that_would_be_refused(self, examined: Desk) -> None:
        examined.routes(WRONG)
        ended = examined.run("doctor", "--json")
        ((status, detail, next_step),) = found(ended)["queue"]
        assert (ended.code, status) == (1, "failed")
        assert "Unexpected parameter 'run'" in detail
        assert next_step == "correct the route or the pipeline; 'manage.py preview --all' shows what is asked for"

    def test_a_route_without_a_sample(self, examined: Desk) -> None:
        examined.routes(NOT_SOLVED)
        ((status, detail, _),) = found(examined.run("doctor", "--json"))["queue"]
        assert (status, detail) == (
            "ok",
            "odd: a preview is let in; its parameters were not tried, since no sample event could be made for it",
        )

    def test_a_permission_that_is_missing(self, desk: Desk, tmp_path: Path) -> None:
        declared = yaml.safe_load((ROOT / "devstack" / "ado" / "pipelines.yaml").read_text())
        for pipeline in declared["pipelines"]:
            pipeline["may_queue"] = pipeline["name"] != "triage"
        (tmp_path / "pipelines.yaml").write_text(yaml.safe_dump(declared))
        desk.routes(RIGHT, TRIAGE, NOT_SOLVED)
        log = tmp_path / "ado.log"
        arguments = ("--pipelines", str(tmp_path / "pipelines.yaml"))
        with start("devstack.ado", *arguments, env={"DEVSTACK_PAT": secret("pat")}, cwd=tmp_path, log=log) as ado:
            desk.organization_url = ado.url
            findings = found(desk.run("doctor", "--json"))
            assert desk.runs == []
        assert [status for status, _, _ in findings["queue"]] == ["ok", "failed", "failed"]
        _, detail, next_step = findings["queue"][1]
        assert "triage: HTTP 403: TF215106: Access denied. devstack needs Queue builds permissions" in detail
        assert next_step == "grant the app's identity this permission"

    def test_an_answer_that_is_lost(self, examined: Desk) -> None:
        examined.plan(accept=False, drop=True, match={"method": "POST", "path": "/preview$"})
        ((status, detail, _),) = found(examined.run("doctor", "--json"))["queue"]
        assert (status, "nothing was queued" in detail) == ("failed", True)

    @pytest.mark.parametrize("routes", [[], ["name: off\nevent: RunCompleted\npipeline: 98\nenabled: false"]])
    def test_nothing_to_ask_for(self, examined: Desk, routes: list[str]) -> None:
        examined.routes(*routes)
        if not routes:
            (examined.folder / "routes.yaml").write_text("version: 1\nroutes: []\n")
        findings = found(examined.run("doctor", "--json"))
        assert findings["Azure DevOps"] == [("skipped", "no route is enabled", None)]
        assert requests.get(f"{examined.emulator}/books", timeout=10).json()["requests"] == []
        examined.routes(RIGHT)


class TestSettingsAndRoutes:
    def test_every_problem_of_the_routes_is_on_a_line_of_its_own(self, examined: Desk) -> None:
        examined.routes("name: a\nevent: Nope\npipeline: 1", "name: a\nevent: RunCompleted\npipeline: 1\nwhen: nope")
        ended = examined.run("doctor")
        examined.routes(RIGHT)
        assert ended.code == 1
        first, *others = [row for row in ended.rows if "routes.yaml:" in " ".join(row)]
        assert first[:2] == ["failed", "routes"]
        assert [len(row) for row in others] == [1, 1]
        assert ["skipped", "Azure DevOps", "the routes first"] in ended.rows

    def test_wrong_settings_skip_what_needs_them(self, examined: Desk) -> None:
        examined.settings = {"JOURNAL_LEASE_SECONDS": "1", "JOURNAL_CONNECTION": "sqlite:"}
        findings = found(examined.run("doctor", "--json"))
        assert findings["settings"][0][1].count("\n") == 1
        assert [findings[check][0][0] for check in ("routes", "journal", "secret", "token", "Azure DevOps")] == (
            ["skipped"] * 5
        )

    def test_broken_local_settings(self, examined: Desk) -> None:
        (examined.folder / "local.settings.json").write_text("{")
        ended = examined.run("doctor", "--json")
        (examined.folder / "local.settings.json").unlink()
        assert (ended.code, ended.err) == (1, "")
        assert "local.settings.json is not JSON" in found(ended)["settings"][0][1]


class TestEndpoint:
    def test_one_that_was_named_and_is_not_there(self, examined: Desk) -> None:
        ended = examined.run("doctor", "--url", "http://127.0.0.1:9", "--json")
        ((status, detail, _),) = found(ended)["Event Grid"]
        assert (ended.code, status) == (1, "failed")
        assert detail.startswith("no answer from http://127.0.0.1:9: ConnectionRefusedError")

    def test_a_key_is_wanted(self, examined: Desk) -> None:
        examined.settings = {"EVENTGRID_EXTENSION_KEY": secret("host-key")}
        with answering((401, {}, "")) as odd:
            ((status, _, next_step),) = found(examined.run("doctor", "--url", odd.url, "--json"))["Event Grid"]
        assert (status, next_step) == (
            "failed",
            "set EVENTGRID_EXTENSION_KEY to the app's system key eventgrid_extension",
        )
        assert odd.asked[0][2]["x-functions-key"] == secret("host-key")

    def test_the_usual_one_need_not_be_there(self, desk: Desk) -> None:
        installation = Installation(desk.folder, desk.environment)
        *_, last = examine(installation, Endpoint("", "", "aml_event", usual_url="http://127.0.0.1:9"))
        assert (last.status, last.detail) == (
            Status.SKIPPED,
            "no app runs at http://127.0.0.1:9; --url names a deployed one",
        )

    def test_an_address_that_cannot_be_one(self, desk: Desk) -> None:
        ended = desk.run("doctor", "--url", "http://app.example")
        assert (ended.code, ended.out) == (2, "")
        assert "--url must begin with https://" in ended.err


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a: b; check c", ("a: b", "check c")),
        ("a; b; c", ("a; b", "c")),
        ("a", ("a", "otherwise")),
        ("a\n  b; c", ("a; b", "c")),
    ],
)
def test_what_happened_and_what_to_do(text: str, parts: tuple[str, str]) -> None:
    assert split_advice(CredentialUnavailable(text), "otherwise") == parts
