"""The files that Azure Functions and Core Tools read first: host.json, local.settings.json and .funcignore."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import ValidationError

from devstack.package import app_files
from shared.settings import load_settings
from tests.contracts import validate
from tests.support import ROOT

HOST = json.loads((ROOT / "host.json").read_text(encoding="utf-8"))
LOCAL_SETTINGS = json.loads((ROOT / "local.settings.sample.json").read_text(encoding="utf-8"))
BINDING = {"type": "timerTrigger", "direction": "IN", "name": "timer", "schedule": "0 30 3 * * *"}


def changed(document: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    """Return a copy with another value at the path ``a.b.c``; None removes it."""
    copied = copy.deepcopy(document)
    *parents, last = path.split(".")
    parent = copied
    for key in parents:
        parent = parent[key]
    if value is None:
        del parent[last]
    else:
        parent[last] = value
    return copied


SHIPPED = {
    "functions_host_json": HOST,
    "functions_local_settings": LOCAL_SETTINGS,
    # tests/runtime checks the bindings of the app's functions, as Microsoft's runtime reports them.
    "functions_binding": BINDING,
}


def test_they_are_valid_for_the_host_and_core_tools() -> None:
    for schema, document in SHIPPED.items():
        validate(schema, document)
    validate("functions_binding", {"type": "http", "direction": "OUT", "name": "$return"})


@pytest.mark.parametrize(
    ("schema", "path", "value"),
    [
        ("functions_host_json", "version", None),
        ("functions_host_json", "version", "1.0"),
        ("functions_host_json", "functionTimeout", "60"),
        ("functions_host_json", "functionTimout", "00:01:00"),
        ("functions_host_json", "extensionBundle.version", "4.x"),
        ("functions_host_json", "extensionBundle.id", "Microsoft.Azure.WebJobs.ExtensionBundle"),
        ("functions_host_json", "logging.logLevel.default", "Warn"),
        ("functions_host_json", "logging.loglevel", {}),
        ("functions_host_json", "logging.OpenTelemetry.logLevel.default", "Warn"),
        ("functions_host_json", "logging.OpenTelemetry.LogLevel", {}),
        ("functions_host_json", "logging.applicationInsights", {"samplingSettings": {"isEnabled": "true"}}),
        ("functions_host_json", "logging.applicationInsights", {"samplingSettings": {"excludedTypes": "Trace, Exc"}}),
        ("functions_host_json", "telemetryMode", "opentelemetry"),
        ("functions_local_settings", "IsEncrypted", True),
        ("functions_local_settings", "IsEncrypted", None),
        ("functions_local_settings", "Values.FUNCTIONS_WORKER_RUNTIME", "node"),
        ("functions_local_settings", "Values.AzureWebJobsStorage", None),
        ("functions_local_settings", "Values.DELIVERY_BUDGET_SECONDS", 25),
        ("functions_local_settings", "values", {}),
        ("functions_binding", "schedule", "30 3 * * *"),
        ("functions_binding", "schedule", None),
        ("functions_binding", "direction", "OUT"),
        ("functions_binding", "runOnStartup", "false"),
        ("functions_binding", "type", "timertrigger"),
        ("functions_binding", "name", "the timer"),
    ],
)
def test_errors_are_found(schema: str, path: str, value: object) -> None:
    with pytest.raises(ValidationError):
        validate(schema, changed(SHIPPED[schema], path, value))


def test_the_function_timeout_allows_the_whole_budget_of_a_delivery() -> None:
    hours, minutes, seconds = map(int, HOST["functionTimeout"].split(":"))
    settings = load_settings({}, ROOT)
    assert settings.lease_seconds <= hours * 3600 + minutes * 60 + seconds
    assert settings.budget_seconds < settings.lease_seconds


def test_the_function_timeout_is_not_reached_by_waiting_for_a_thread() -> None:
    """The host would end the worker, and with it all other deliveries."""
    assert HOST["functionTimeout"] == "00:10:00"


def exported_level(category: str, levels: dict[str, str]) -> str:
    """Return the level from which the exporter of the host sends a category.

    The longest beginning of the category wins, without regard to case. Source: .NET documentation, "Logging in C# and
    .NET", how filtering rules are applied. ``logging.logLevel`` is not looked at: for the categories of functions and
    of the host, it does not reach the exporter, which then sends everything.
    """
    matching = [name for name in levels if category.lower().startswith(name.lower())]
    return levels[max(matching, key=len)] if matching else "Trace"


EXPORTED = HOST["logging"]["OpenTelemetry"]["logLevel"]
FUNCTIONS = re.findall(r'@app\.function_name\("(\w+)"\)', (ROOT / "function_app.py").read_text(encoding="utf-8"))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_what_a_function_logs_is_sent(function: str) -> None:
    """Its decisions, warnings and errors have the category Function.<name>.User."""
    assert exported_level(f"Function.{function}.User", EXPORTED) in {"Trace", "Information"}


@pytest.mark.parametrize("left_out", ["Function.aml_event.User", "Function.aml_event"])
def test_a_level_that_is_missing_is_noticed(left_out: str) -> None:
    levels = {name: level for name, level in EXPORTED.items() if name != left_out}
    changed = exported_level(left_out, levels) != exported_level(left_out, EXPORTED)
    assert changed, f"{left_out} has no effect"


@pytest.mark.parametrize(
    "category", ["Microsoft.Azure.WebJobs.Script.WebHost.Host", "Azure.Core", "Function.aml_event"]
)
def test_what_the_host_says_about_itself_is_sent_only_if_something_is_wrong(category: str) -> None:
    assert exported_level(category, EXPORTED) == "Warning"


def test_no_record_is_sampled_out() -> None:
    # The deployment disables the sampling of OpenTelemetry: tests/infra/test_app_settings.py.
    assert HOST["telemetryMode"] == "OpenTelemetry"


class TestFuncignore:
    NEEDED = ("function_app.py", "host.json", "requirements.txt", "constraints.txt", "routes.yaml")
    FOLDERS = ("handlers", "shared", "manage.py", "tools", "requirements")
    NEVER = (
        "local.settings.json", ".env", "journal.sqlite3", "tests/test_x.py", "devstack/x.py", "bench/x.py", "docs/x.md",
        "infra/main.bicep", "pipelines/x.yaml", "components/x.yaml", "azure.yaml", ".azdo/x.yml", ".git/config",
        ".venv/bin/python", ".venv-runtime/bin/python", "dist/x.zip", "README.md", "test.http", "Makefile",
        "pyproject.toml", "routes.test.yaml",
    )  # fmt: skip

    def test_only_the_files_that_the_app_needs_are_deployed(self) -> None:
        deployed = {entry.name.parts[0] for entry in app_files(ROOT)}
        assert deployed == {*self.NEEDED, *self.FOLDERS}
        assert [str(entry.name) for entry in app_files(ROOT) if entry.name.parts[0] == "requirements"] == [
            "requirements/tools.txt"
        ]

    def test_local_files_are_not_deployed(self, tmp_path: Path) -> None:
        (tmp_path / ".funcignore").write_bytes((ROOT / ".funcignore").read_bytes())
        for name in ("function_app.py", *self.NEVER):
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        assert [str(entry.name) for entry in app_files(tmp_path)] == ["function_app.py"]

    def test_core_tools_ignores_the_same_files(self) -> None:
        """Core Tools treats an entry as the beginning of a path from the root, and * as one or more characters.

        Source: https://github.com/Azure/azure-functions-core-tools, GitIgnoreParser.cs; see its issue 2701.
        """
        lines = (ROOT / ".funcignore").read_text(encoding="utf-8").splitlines()
        ignored = re.compile(
            "|".join(re.escape(line).replace(r"\*", "[^/]+") for line in lines if not line.startswith("#"))
        )
        assert [str(entry.name) for entry in app_files(ROOT) if ignored.match(str(entry.name))] == []
        kept = [name for name in self.NEVER if not ignored.match(name)]
        assert kept == []
