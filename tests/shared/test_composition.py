"""From settings to a working app, and function_app.py as the host sees it."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from devstack.ado import Emulator, load_declaration
from devstack.ado import serve as serve_ado
from devstack.events import sample_text
from devstack.host import Host, load_app
from devstack.host import serve as serve_host
from handlers import NAMES
from shared.clouds import US_GOVERNMENT
from shared.composition import credential, identity_factory, load_configuration
from shared.credentials import pat_authorization
from shared.errors import InvalidRoutes, InvalidSettings
from tests.support import ROOT
from tests.support.building import ENVIRONMENT
from tests.support.canaries import secret
from tests.support.services.host_apps import deliver

PAT = {"AZURE_DEVOPS_AUTH": "pat", "AZURE_DEVOPS_EXT_PAT": secret("pat")}


class TestConfiguration:
    def test_settings_and_routes(self) -> None:
        configuration = load_configuration({**ENVIRONMENT, **PAT}, ROOT, NAMES)
        assert configuration.settings.auth == "pat"
        assert len(configuration.routes.routes) == 6

    def test_wrong_settings(self) -> None:
        with pytest.raises(InvalidSettings):
            load_configuration({"AZURE_DEVOPS_AUTH": "x"}, ROOT, NAMES)

    def test_wrong_routes(self) -> None:
        with pytest.raises(InvalidRoutes, match="AZURE_DEVOPS_ORG_URL"):
            load_configuration({}, ROOT, NAMES)

    @pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
    def test_routes_that_cannot_be_read(self, tmp_path: Path, content: bytes | None) -> None:
        if content is not None:
            (tmp_path / "routes.yaml").write_bytes(content)
        with pytest.raises(InvalidSettings, match=r"the routes cannot be read: .*; check the setting ROUTES_FILE"):
            load_configuration(ENVIRONMENT, tmp_path, NAMES)


class TestIdentity:
    @pytest.mark.parametrize(
        ("name", "authority_host"),
        [("AzureCloud", None), ("AzureUSGovernment", US_GOVERNMENT.authority_host)],
    )
    def test_it_signs_in_in_the_settings_cloud(self, name: str, authority_host: str | None) -> None:
        """In the public cloud the library's own choice stays, which ``AZURE_AUTHORITY_HOST`` may change."""
        environment = {**ENVIRONMENT, **PAT, "AZURE_CLOUD": name, "AZURE_CLIENT_ID": "client"}
        factory = identity_factory(load_configuration(environment, ROOT, NAMES).settings)
        assert isinstance(factory, partial)
        assert (factory.args, factory.keywords) == (("client",), {"in_azure": False, "authority_host": authority_host})


class TestCredential:
    def test_a_pat_in_the_environment(self) -> None:
        settings = load_configuration({**ENVIRONMENT, **PAT}, ROOT, NAMES).settings
        assert credential(settings).authorization() == pat_authorization(secret("pat")).value

    @pytest.mark.parametrize(
        "environment",
        [
            {},
            {"AZURE_DEVOPS_AUTH": "identity"},
            {
                "AZURE_DEVOPS_AUTH": "pat",
                "KEY_VAULT_URL": "https://kv.vault.azure.net",
                "AZURE_DEVOPS_PAT_SECRET_NAME": "x",
            },
        ],
    )
    def test_the_azure_libraries_are_imported_only_when_something_is_asked_of_them(
        self, environment: dict[str, str]
    ) -> None:
        """An import at start would cost every cold start; a process of its own shows what is really imported."""
        program = (
            "import sys, pathlib, json\n"
            "from handlers import NAMES\n"
            "from shared.composition import credential, load_configuration\n"
            f"environment = { ({**ENVIRONMENT, **environment})!r}\n"
            "credential(load_configuration(environment, pathlib.Path.cwd(), NAMES).settings)\n"
            "print(json.dumps([name for name in sys.modules if name.startswith('azure.')]))\n"
        )
        result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
        assert json.loads(result.stdout) == []


@pytest.fixture
def emulator() -> Emulator:
    return Emulator(load_declaration(), pats={secret("pat")})


@pytest.fixture
def host_url(emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The real function_app in the stand-in host, in this process, against the emulator."""
    with serve_ado(emulator) as ado:
        environment = {
            **PAT,
            "AZURE_DEVOPS_ORG_URL": ado.organization_url,
            "AZURE_DEVOPS_PROJECT": "mlops",
            "JOURNAL_CONNECTION": f"sqlite:{tmp_path / 'journal.sqlite3'}",
        }
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delitem(sys.modules, "function_app", raising=False)
        with serve_host(Host(load_app(ROOT), threads=32)) as host:
            yield f"{host.url}/runtime/webhooks/eventgrid?functionName=aml_event"


class TestFunctionApp:
    def test_importing_it_reads_no_environment_and_no_routes(self) -> None:
        program = "import function_app, sys; print([m for m in sys.modules if m in ('yaml', 'jmespath', 'sqlite3')])"
        result = subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True, env={}
        )
        assert result.stdout.strip() == "[]"

    def test_what_waits_need_is_imported_only_where_they_are_on(self, tmp_path: Path) -> None:
        environment = {**ENVIRONMENT, **PAT, "JOURNAL_CONNECTION": f"sqlite:{tmp_path / 'journal.sqlite3'}"}
        program = (
            "import pathlib, sys\n"
            "from handlers import DISPATCH, NAMES\n"
            "from shared.composition import compose, load_configuration\n"
            f"environment = {environment!r}\n"
            "app = compose(load_configuration(environment, pathlib.Path.cwd(), NAMES), DISPATCH)\n"
            "assert app.bridge is None\n"
            "print([name for name in sys.modules if name.startswith(('shared.waits', 'cryptography'))])\n"
        )
        result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
        assert result.stdout.strip() == "[]"

    def test_a_wrong_configuration_stops_it_when_the_host_asks_for_its_functions(self) -> None:
        program = "import function_app; function_app.app.get_functions()"
        result = subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False, env={}
        )
        assert result.returncode != 0
        assert "InvalidRoutes" in result.stderr
        assert "routes.yaml:7:21: '${AZURE_DEVOPS_ORG_URL}'" in result.stderr

    def test_an_event_over_http(self, host_url: str, emulator: Emulator) -> None:
        assert deliver(host_url, sample_text("run-completed")).status_code == 202
        (run,) = emulator.books.runs
        assert run.pipeline_name == "model-evaluation"
        assert run.template_parameters["runId"] == "sample_run_00000001"

    def test_a_deferred_event_is_answered_500_with_the_reason(self, host_url: str, emulator: Emulator) -> None:
        emulator.credentials.pats.clear()
        response = deliver(host_url, sample_text("run-completed"))
        assert response.status_code == 500
        assert "deferred on evaluate-after-training: HTTP 203 asks to sign in" in response.text
        assert "canary" not in response.text

    def test_200_duplicates_from_32_threads_are_one_run(self, host_url: str, emulator: Emulator) -> None:
        event = sample_text("model-registered")
        start = threading.Barrier(32)

        def deliver_some(count: int) -> list[int]:
            start.wait()
            return [deliver(host_url, event).status_code for _ in range(count)]

        with ThreadPoolExecutor(32) as pool:
            futures = [pool.submit(deliver_some, 7 if number < 8 else 6) for number in range(32)]
            statuses = [status for future in futures for status in future.result()]
        assert len(statuses) == 200
        assert set(statuses) <= {202, 500}
        assert deliver(host_url, event).status_code == 202, "what was answered 500 is acknowledged on redelivery"
        assert len(emulator.books.runs) == 1
