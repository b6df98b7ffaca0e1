"""``manage.py doctor``: reports what works and the next step for what fails, and leaves nothing behind."""

import base64
import re
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
import yaml
from cryptography.fernet import Fernet

from devstack.azurite import Azurite
from devstack.processes import RunningProcess, start
from handlers import NAMES
from shared.composition import load_configuration
from shared.errors import CredentialUnavailable, JournalUnavailable
from shared.journal.journal import Journal
from shared.journal.probe import PROBED, probe_record, probe_store
from shared.journal.records import Selection
from shared.journal.sqlite import SqliteStore
from shared.journal.tables.store import NO_TABLE_YET
from shared.routing.running import announce, running_routes
from tests.support import ROOT
from tests.support.builders import GATHERS, run_completed
from tests.support.canaries import secret
from tests.support.journal.stores import OpenTables
from tests.support.polling import wait_until
from tests.support.services.odd_host import answering
from tests.support.services.shifted_clock import shifted
from tests.tools.conftest import RIGHT, TRIAGE, UNREACHABLE, UNSOLVABLE, WRONG, Desk, Result, start_host
from tools.actions.check_results import Status, clock_check, failed
from tools.actions.diagnosis import examine
from tools.installation import Installation

KEY = base64.b64encode(secret("account-key").encode()).decode()
VAULT = {"KEY_VAULT_URL": "https://127.0.0.1:9"}
OFF = "name: off\nevent: RunCompleted\npipeline: 98\nenabled: false"

Findings = dict[str, list[tuple[str, str, str | None]]]


@pytest.fixture(autouse=True)
def signed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use only the credential of the Azure CLI, so that no managed identity is searched for over the network."""
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "AzureCliCredential")


def examined(desk: Desk, *arguments: str) -> Result:
    """Run the doctor, and assert that it leaves nothing behind."""
    before = traces(desk)
    result = desk.run("doctor", *arguments)
    assert traces(desk) == before
    return result


def traces(desk: Desk) -> Any:
    """Return everything that the doctor could leave behind."""
    # The files that SQLite keeps next to the journal belong to the process that has it open, such as a running app.
    ignored = (".log", "-shm", "-wal")
    files = sorted(path.name for path in desk.folder.iterdir() if not path.name.endswith(ignored))
    runs = [] if desk.organization_url == UNREACHABLE else desk.runs
    return files, runs, desk.records if (desk.folder / "journal.sqlite3").exists() else None


def found(desk: Desk, *arguments: str) -> Findings:
    """Return status, detail and next step of each result, by check; assert that the exit code fits them."""
    result, findings = examined(desk, *arguments, "--json"), Findings()
    for one in result.json:
        findings.setdefault(one["check"], []).append((one["status"], one["detail"], one["next_step"]))
    assert result.code == int(any(one["status"] == "failed" for one in result.json))
    return findings


def expect(findings: list[tuple[str, str, str | None]], status: str, detail: str, next_step: str | None) -> None:
    """Compare the only result of a check. ``detail`` and ``next_step`` are parts of the actual text."""
    ((found_status, found_detail, found_step),) = findings
    assert (found_status, detail in found_detail) == (status, True), found_detail
    assert (found_step is None) is (next_step is None)
    assert (next_step or "") in (found_step or "")


def endpoint_of(desk: Desk, url: str, key: str) -> list[tuple[str, str, str | None]]:
    """Return the result of the check of a host with this key. The other checks have nothing to ask."""
    installation = Installation(desk.folder, {"EVENTGRID_EXTENSION_KEY": key})
    results = examine(installation, url, "", "aml_event")
    return [(one.status, one.detail, one.next_step) for one in results if one.check == "Event Grid"]


def journal_in(connection: str) -> dict[str, str]:
    return {"JOURNAL_CONNECTION": connection}


def test_all_is_well(busy_desk: Desk, host: RunningProcess) -> None:
    busy_desk.deliver()
    wait_until(lambda: running_routes(Journal(busy_desk.store)))
    before = traces(busy_desk)
    result = busy_desk.process("doctor", "--url", host.url)
    assert (result.code, result.err) == (0, "")
    *rows, last = result.rows
    table = yaml.safe_load((ROOT / "routes.yaml").read_text(encoding="utf-8"))
    routes = sum(route.get("enabled", True) for route in table["routes"])
    assert [tuple(row[:2]) for row in rows] == [
        *[("ok", check) for check in ("settings", "routes", "journal", "clock")],
        ("skipped", "resume"),
        ("ok", "secret"),
        *[("skipped", check) for check in ("token", "waits")],
        ("ok", "Azure DevOps"),
        ("ok", "clock"),
        *[("ok", "pipeline")] * routes,
        *[("ok", "queue")] * routes,
        ("skipped", "permission"),
        ("ok", "Event Grid"),
        ("ok", "app"),
    ]
    assert last == [f"{13 + 2 * routes} checks: {9 + 2 * routes} ok, 4 skipped"]
    assert traces(busy_desk) == before


@pytest.mark.parametrize(
    ("settings", "check", "status", "detail", "next_step"),
    [
        ({}, "settings", "ok", "read from the environment, then from local.settings.json", None),
        ({}, "journal", "ok", "the file does not exist yet, and ", None),
        (journal_in("sqlite:nope/journal.sqlite3"), "journal", "failed",
         "cannot be created: No such file or directory", "create the folder, and let the app write to it"),
        (journal_in("sqlite:routes.yaml"), "journal", "failed",
         "does not answer: file is not a database", "check that the disk has space and the app can write to the file"),
        (journal_in(f"AccountName=a;AccountKey={KEY};TableEndpoint=http://127.0.0.1:9/a;"), "journal", "failed",
         "ConnectionRefusedError", "check that the storage account exists and can be reached from here"),
        ({"AZURE_DEVOPS_EXT_PAT": "@Microsoft.KeyVault(SecretUri=https://v.vault.azure.net/secrets/p)"},
         "secret", "failed",
         "AZURE_DEVOPS_EXT_PAT is an unresolved Key Vault reference",
         "give the app's identity the role Key Vault Secrets User; outside Azure, set the PAT itself"),
        ({"AZURE_DEVOPS_EXT_PAT": "", "AZURE_DEVOPS_PAT_SECRET_NAME": "pat-secret", **VAULT},
         "secret", "failed", "pat-secret", ""),
        ({"AZURE_DEVOPS_AUTH": "identity"}, "secret", "skipped", "AZURE_DEVOPS_AUTH is 'identity'", None),
        ({"AZURE_DEVOPS_AUTH": "identity"}, "token", "failed", "Microsoft Entra issued no token for Azure DevOps:",
         "check the identity that AZURE_CLIENT_ID names, or sign in with 'az login' on your own machine"),
        ({"WAIT_TOKEN_KEYS": Fernet.generate_key().decode()}, "waits", "ok", "the keys in WAIT_TOKEN_KEYS", None),
        ({"WAIT_TOKEN_KEYS_SECRET_NAME": "wait-keys", **VAULT}, "waits", "failed", "wait-keys", ""),
        ({}, "Azure DevOps", "failed", f"{UNREACHABLE}/mlops: no connection: ",
         "run 'make ado', which starts the emulator, or correct AZURE_DEVOPS_ORG_URL"),
        ({"AZURE_DEVOPS_ORG_URL": "https://azure-devops.invalid/contoso"}, "Azure DevOps", "failed", "no connection: ",
         "check AZURE_DEVOPS_ORG_URL and the network: DNS, proxy, firewall"),
    ],
)  # fmt: skip
def test_without_azure_devops(
    desk: Desk, settings: dict[str, str], check: str, status: str, detail: str, next_step: str | None
) -> None:
    """An empty next step in a parameter set accepts any."""
    desk.settings = settings
    desk.file('{"Values": {}}', "local.settings.json")
    expect(found(desk)[check], status, detail, next_step)


def test_a_misspelled_setting(desk: Desk) -> None:
    desk.settings = {"RESUME_STORAG": "sqlite"}
    read, ignored = found(desk)["settings"]
    assert read[0] == "ok"
    expect([ignored], "warning", "RESUME_STORAG is not a setting of nextstage", "did you mean 'RESUME_STORAGE'?")


class TestJournal:
    def test_a_table_is_probed_and_a_missing_one_is_not_created(self, open_tables: OpenTables) -> None:
        for _ in range(2):
            assert open_tables().probe().done == NO_TABLE_YET
        store = open_tables()
        written = store.insert(probe_record())
        assert written is not None
        assert open_tables().probe().done == PROBED
        assert list(store.select(Selection(), 10)) == [written]

    def test_a_wrong_key_is_reported_before_a_missing_table(self, desk: Desk, azurite: Azurite) -> None:
        desk.settings = journal_in(re.sub("AccountKey=[^;]+", f"AccountKey={KEY}", azurite.connection_string))
        next_step = "check the account key, or that the app's identity has the role"
        expect(found(desk)["journal"], "failed", "", next_step)

    @pytest.mark.parametrize(
        ("faulty", "words"),
        [
            ({"insert": None}, "a record under the probe's random key"),
            ({"get": None}, "does not return what was written"),
            ({"delete": False}, "could not be removed from the route \\$doctor"),
        ],
    )
    def test_a_faulty_store(self, tmp_path: Path, faulty: dict[str, Any], words: str) -> None:
        class Faulty(SqliteStore):
            def __getattribute__(self, name: str) -> Any:
                return (lambda *_: faulty[name]) if name in faulty else super().__getattribute__(name)

        with pytest.raises(JournalUnavailable, match=words):
            probe_store(Faulty(tmp_path / "journal.sqlite3"))


class TestAzureDevOps:
    def test_a_pat_that_is_rejected(self, busy_desk: Desk) -> None:
        busy_desk.settings = {"AZURE_DEVOPS_EXT_PAT": secret("wrong")}
        findings = found(busy_desk)
        next_step = "renew the PAT, or add the app's identity"
        expect(findings["Azure DevOps"], "failed", "HTTP 203 asks to sign in", next_step)
        assert "queue" not in findings
        expect(findings["pipeline"], "skipped", "2 checks of 1 route: need the pipelines of their project", None)

    def test_checks_that_are_skipped_take_one_line(self, desk: Desk) -> None:
        desk.routes(RIGHT, TRIAGE, UNSOLVABLE, OFF)
        findings = found(desk)
        assert "queue" not in findings
        expect(findings["pipeline"], "skipped", "6 checks of 3 routes: need the pipelines of their project", None)

    def test_a_version_that_the_server_does_not_support(self, busy_desk: Desk) -> None:
        busy_desk.settings = {"AZURE_DEVOPS_API_VERSION": "9.9"}
        next_step = "set AZURE_DEVOPS_API_VERSION to a version that the server supports"
        expect(found(busy_desk)["Azure DevOps"], "failed", "version of 9.9 is out of range", next_step)

    def test_a_project_that_does_not_exist(self, busy_desk: Desk) -> None:
        busy_desk.settings = {"AZURE_DEVOPS_PROJECT": "nope"}
        expect(found(busy_desk)["Azure DevOps"], "failed", "HTTP 404: TF200016", "")

    def test_each_routes_pipeline_and_run(self, busy_desk: Desk) -> None:
        busy_desk.routes(
            RIGHT,
            "name: typo\nevent: RunCompleted\npipeline: model-evaluations",
            "name: by-id\nevent: RunCompleted\npipeline: 13\nparameters: { serviceName: x }",
            "name: wrong-id\nevent: RunCompleted\npipeline: 99",
            OFF,
            UNSOLVABLE,
            WRONG.replace("evaluate", "wrong"),
        )
        findings = found(busy_desk)
        for pipeline, expected in zip(
            findings["pipeline"],
            [
                ("ok", r"evaluate: \mlops\model-evaluation (11)", None),
                ("failed", "typo: ", "did you mean 'model-evaluation'?"),
                ("ok", "by-id: ", None),
                ("failed", "has no pipeline 99, or the app may not see it", ""),
                ("ok", "odd: ", None),
                ("ok", "wrong: ", None),
            ],
            strict=True,
        ):
            expect([pipeline], *expected)
        queue = findings["queue"]
        assert [status for status, _, _ in queue] == ["ok", "skipped", "ok", "skipped", "skipped", "failed"]
        expect(queue[4:5], "skipped", "its parameters were not tried", "manage.py preview EVENT.json")
        expect(queue[5:], "failed", "Unexpected parameter 'run'", "'manage.py preview --all' shows what is requested")

    def test_a_disabled_pipeline_and_a_permission_that_no_preview_shows(self, desk: Desk) -> None:
        declared = yaml.safe_load((ROOT / "devstack" / "ado" / "pipelines.yaml").read_text())
        for pipeline in declared["pipelines"]:
            pipeline["may_queue"] = pipeline["name"] != "triage"
            pipeline["queue_status"] = "disabled" if pipeline["name"] == "model-evaluation" else "paused"
        arguments = ("--pipelines", str(desk.file(yaml.safe_dump(declared), "pipelines.yaml")))
        desk.routes(RIGHT, TRIAGE, UNSOLVABLE)
        pat, log = {"DEVSTACK_PAT": secret("pat")}, desk.folder / "ado.log"
        with start("devstack.ado", *arguments, env=pat, cwd=desk.folder, log=log) as ado:
            desk.organization_url = ado.url
            findings = found(desk)
        assert [status for status, _, _ in findings["queue"]] == ["failed", "ok", "skipped"]
        expect(findings["queue"][:1], "failed", "because the pipeline is disabled", "correct the route or the pipeline")
        expect(findings["permission"], "skipped", "to queue builds: not shown by a preview", None)

    def test_a_permission_that_is_missing(self, busy_desk: Desk) -> None:
        wrapped = {"message": "TF215106: Access denied.", "typeKey": "AccessDeniedException"}
        match = {"method": "POST", "path": "/preview$"}
        busy_desk.plan(accept=False, status=403, body=wrapped, match=match)
        expect(found(busy_desk)["queue"], "failed", "HTTP 403: TF215106", "grant the app's identity this permission")

    def test_an_answer_that_is_lost(self, busy_desk: Desk) -> None:
        busy_desk.plan(accept=False, drop=True, match={"method": "POST", "path": "/preview$"})
        expect(found(busy_desk)["queue"], "failed", "no run was queued", "")

    @pytest.mark.parametrize("routes", [f"routes: [{{{OFF.replace(chr(10), ', ')}}}]", "routes: []"])
    def test_no_request_without_enabled_routes(self, busy_desk: Desk, routes: str) -> None:
        text = "version: 1\ndefaults: { organization_url: '${AZURE_DEVOPS_ORG_URL}', project: p }\n"
        busy_desk.file(text + routes, "routes.yaml")
        assert found(busy_desk)["Azure DevOps"] == [("skipped", "no route is enabled", None)]
        assert requests.get(f"{busy_desk.emulator}/books", timeout=10).json()["requests"] == []


class TestClocks:
    @pytest.mark.parametrize(
        ("shift", "status", "words", "next_step"),
        [
            (-600, "warning", r"(59\d|600)\.\d s behind", "check the time synchronization of this machine"),
            (-2, "ok", r"[0-3]\.\d s behind", None),
            (600, "warning", r"(59\d|600)\.\d s ahead of", "check the time synchronization of this machine"),
        ],
    )
    def test_the_clocks_of_the_journal_and_of_azure_devops(
        self, busy_desk: Desk, azurite: Azurite, shift: int, status: str, words: str, next_step: str | None
    ) -> None:
        wrong = timedelta(seconds=shift)
        behind = urlsplit(busy_desk.organization_url).port or 0
        with shifted(azurite.port, wrong) as (tables, _), shifted(behind, wrong) as (ado, _):
            busy_desk.settings = journal_in(azurite.connection_string.replace(f":{azurite.port}", f":{tables}"))
            busy_desk.organization_url = busy_desk.organization_url.replace(f":{behind}", f":{ado}")
            clocks = found(busy_desk)["clock"]
        servers = ["the journal", busy_desk.organization_url]
        assert [(one[0], one[2]) for one in clocks] == [(status, next_step)] * 2
        for server, (_, detail, _) in zip(servers, clocks, strict=True):
            assert re.fullmatch(f"{re.escape(server)}: {words} this machine's clock", detail)

    @pytest.mark.parametrize(
        ("offset", "status"), [(5, "ok"), (5.1, "warning"), (-5, "ok"), (-5.1, "warning")], ids=str
    )
    def test_more_than_5_seconds_are_a_warning(self, offset: float, status: str) -> None:
        assert clock_check("the journal", timedelta(seconds=offset)).status == status


def test_records_that_wait_for_a_delivery(desk: Desk) -> None:
    """They show that the app is holding requests back, which only the app's process knows."""
    for run_id in ("run-1", "run-2"):
        desk.deliver(run_completed(run_id))
    expect(
        found(desk)["deferred"],
        "warning",
        "2 records wait for another delivery; the latest reason: no connection: GET ",
        "see 'manage.py journal', and correct what is not temporary. Event Grid has no event that was acknowledged "
        "while RESUME_STORAGE was set: redrive it with ",
    )


class TestSettingsAndRoutes:
    def test_a_credential_that_is_missing(self, desk: Desk) -> None:
        desk.settings = {"AZURE_DEVOPS_EXT_PAT": ""}
        result = examined(desk)
        first, advice, *others, _ = result.rows
        assert (result.code, result.err, first[:2]) == (1, "", ["failed", "settings"])
        assert "set AZURE_DEVOPS_EXT_PAT" in first[2]
        assert advice == ["next: correct the application settings, or local.settings.json"]
        skipped = ("secret", "token", "waits", "Azure DevOps", "app")
        statuses = {row[1]: row[0] for row in others if row[1] != "Event Grid"}
        assert statuses == {"routes": "ok", "journal": "ok", "clock": "ok", **dict.fromkeys(skipped, "skipped")}

    def test_each_problem_of_the_routes_is_on_its_own_line(self, desk: Desk) -> None:
        desk.routes("name: a\nevent: Nope\npipeline: 1", "name: a\nevent: RunCompleted\npipeline: 1\nwhen: nope")
        result = examined(desk)
        assert result.code == 1
        first, *others = [row for row in result.rows if "routes.yaml:" in " ".join(row)]
        assert first[:2] == ["failed", "routes"]
        assert [len(row) for row in others] == [1, 1]
        assert ["skipped", "Azure DevOps", "needs valid routes"] in result.rows

    def test_a_route_that_gathers_without_a_resume_queue(self, desk: Desk) -> None:
        desk.routes(GATHERS)
        expect(found(desk)["routes"], "failed", "'gather' needs a resume queue", "set RESUME_STORAGE")
        desk.settings = {"RESUME_STORAGE": "sqlite"}
        expect(found(desk)["routes"], "ok", "1 route", None)

    def test_wrong_settings_skip_the_checks_that_need_them(self, desk: Desk) -> None:
        desk.settings = {"JOURNAL_LEASE_SECONDS": "x", "JOURNAL_CONNECTION": "sqlite:"}
        findings = {check: one for check, (one, *_) in found(desk).items()}
        assert findings["settings"][1].count("\n") == 1
        skipped = ("routes", "journal", "secret", "token", "Azure DevOps")
        assert {findings[check][0] for check in skipped} == {"skipped"}

    def test_broken_local_settings(self, desk: Desk) -> None:
        desk.file("{", "local.settings.json")
        expect(found(desk)["settings"], "failed", "local.settings.json is not JSON", "")


class TestEndpoint:
    def test_a_given_url_that_does_not_answer(self, desk: Desk) -> None:
        endpoint = found(desk, "--url", "http://127.0.0.1:9")["Event Grid"]
        expect(endpoint, "failed", "no answer from http://127.0.0.1:9: ", "")

    def test_a_missing_key(self, desk: Desk) -> None:
        desk.settings = {"EVENTGRID_EXTENSION_KEY": secret("host-key")}
        with answering((401, {}, "")) as odd:
            endpoint = found(desk, "--url", odd.url)["Event Grid"]
        expect(endpoint, "failed", "", "set EVENTGRID_EXTENSION_KEY to the app's system key")
        assert odd.asked[0][2]["x-functions-key"] == secret("host-key")

    def test_a_host_that_asks_for_keys(self, busy_desk: Desk) -> None:
        with start_host(busy_desk, "--keys") as host:
            log = (busy_desk.folder / "host.log").read_text(encoding="utf-8")
            keys = dict(re.findall(r"(?m)^(\w+) key: (\S+)$", log))
            assert set(keys) == {"system", "function", "host", "master"}
            refused = "set EVENTGRID_EXTENSION_KEY to the app's system key"
            for key, status in (("", "HTTP 401"), ("wrong", "HTTP 401"), (keys["function"], "HTTP 403")):
                expect(endpoint_of(busy_desk, host.url, key), "failed", status, refused)
            for key in (keys["system"], keys["master"]):
                expect(endpoint_of(busy_desk, host.url, key), "ok", "the handshakes of both schemas succeed", None)

    def test_the_default_url_need_not_answer(self, desk: Desk) -> None:
        installation = Installation(desk.folder, desk.environment)
        *_, endpoint, app = examine(installation, "", "", "aml_event", usual_url="http://127.0.0.1:9")
        assert (endpoint.status, "no app runs at http://127.0.0.1:9" in endpoint.detail) == (Status.SKIPPED, True)
        assert (app.check, app.status, app.detail) == ("app", Status.SKIPPED, "no app runs here")


class TestTheRoutesOfTheApp:
    """They are in the journal, also of an app whose address is not given or that does not answer here."""

    def app(self, desk: Desk) -> Findings:
        return found(desk, "--url", "http://127.0.0.1:9")

    def test_they_are_not_known(self, desk: Desk) -> None:
        expect(self.app(desk)["app"], "skipped", "the journal does not say which routes.yaml the app runs", None)

    def test_they_are_compared(self, desk: Desk) -> None:
        theirs = load_configuration(desk.environment, desk.folder, NAMES).routes
        announce(Journal(desk.store), theirs)
        expect(self.app(desk)["app"], "ok", f"the app runs this routes.yaml (digest {theirs.digest}, 1 route)", None)
        desk.routes(RIGHT, TRIAGE)
        words = f"the app runs an older routes.yaml (digest {theirs.digest}, 1 route) than this one (digest "
        expect(self.app(desk)["app"], "warning", words, "; if apps with different files use this journal")
        desk.routes("name: a\nevent: Nope\npipeline: 1")
        expect(self.app(desk)["app"], "skipped", "needs valid routes", None)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a: b; check c", ("a: b", "check c")),
        ("a; b; c", ("a; b", "c")),
        ("a", ("a", "otherwise")),
        ("a\n  b; c\n  d", ("b; c\nd", "otherwise")),
    ],
)
def test_a_message_is_split_into_detail_and_next_step(text: str, parts: tuple[str, str]) -> None:
    result = failed("token", CredentialUnavailable(text), "otherwise")
    assert (result.detail, result.next_step) == parts
