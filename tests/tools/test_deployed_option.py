"""``manage.py --deployed``: the commands work on the deployed app, with the values of azd's environment."""

import json
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from shared.journal.records import Record
from tests.tools.conftest import Desk
from tools.azure.deployment import deployed
from tools.installation import Installation

LOCAL = {"Values": {"JOURNAL_CONNECTION": "sqlite:journal.sqlite3", "RESUME_STORAGE": "sqlite"}}
"""What an app on this machine has, as in local.settings.sample.json."""


@pytest.fixture
def in_azure(desk: Desk) -> Record:
    """The record of an event that the deployed app has parked. azd names its journal; this machine has another one."""
    (desk.folder / "azure").mkdir()
    there = f"sqlite:{desk.folder / 'azure' / 'journal.sqlite3'}"
    app = replace(desk, settings={"JOURNAL_CONNECTION": there})
    record = app.park("run-in-azure")
    desk.deliver()
    desk.file(json.dumps(LOCAL), "local.settings.json")
    values = {"JOURNAL_CONNECTION": there, "RESUME_STORAGE__queueServiceUri": "https://account.queue.core.windows.net"}
    azd = desk.file(f"#!/bin/sh\necho '{json.dumps(values)}'\n", "bin/azd")
    azd.chmod(stat.S_IRWXU)
    desk.settings = {"PATH": str(azd.parent), "JOURNAL_CONNECTION": ""}
    return record


def keys(desk: Desk, *arguments: str) -> list[str]:
    return [one["key"] for one in desk.run(*arguments, "--json").json]


def test_the_journal_is_that_of_the_deployed_app(desk: Desk, in_azure: Record) -> None:
    """The settings of the app on this machine would contradict azd's values."""
    assert keys(desk, "--deployed", "journal") == [in_azure.key.key]
    assert in_azure.key.key not in keys(desk, "journal")
    assert desk.run("--deployed", "waits").code == 0


def test_an_empty_list_says_which_journal_was_read(desk: Desk) -> None:
    """The folder .azure contains azd's environments."""
    commands = (["journal", "--state", "queued"], ["journal", "--orphans"], ["waits"], ["redrive", "--all"])
    journal, hint = desk.folder / "journal.sqlite3", "; 'manage.py --deployed' asks the journal of the deployed app"
    desk.file("{}", ".azure/config.json")
    desk.fails(2, f"deliver an event, which creates it{hint}\n", "journal")
    desk.deliver()
    for command in commands:
        assert desk.run(*command).out.endswith(f" in the journal {journal}{hint}\n")


def test_no_azd(desk: Desk) -> None:
    desk.settings = {"PATH": "", "JOURNAL_CONNECTION": ""}
    desk.file(json.dumps(LOCAL), "local.settings.json")
    desk.fails(2, "--deployed needs an environment of azd with the value JOURNAL_CONNECTION", "--deployed", "journal")


@pytest.mark.parametrize("name", ["JOURNAL_CONNECTION", "RESUME_STORAGE__queueServiceUri"])
def test_the_shell_must_not_name_the_store_of_another_app(desk: Desk, in_azure: Record, name: str) -> None:
    """Else the journal of one app would be read with the queue of another."""
    desk.settings[name] = "https://other.queue.core.windows.net"
    desk.fails(2, f"{name} is set here, but azd's environment has another value; unset it", "--deployed", "resume")


def test_the_shell_may_name_the_stores_that_azd_names(desk: Desk, in_azure: Record) -> None:
    desk.settings["RESUME_STORAGE__queueServiceUri"] = "https://account.queue.core.windows.net/"
    assert keys(desk, "--deployed", "journal") == [in_azure.key.key]


def test_a_file_of_the_shell_is_not_the_journal_of_an_app_in_azure(desk: Desk) -> None:
    desk.deliver()
    desk.settings = {"PATH": ""}
    desk.fails(2, "--deployed cannot use JOURNAL_CONNECTION: it is a SQLite file", "--deployed", "journal")


def test_events_are_not_sent_to_the_app_on_this_machine(desk: Desk, in_azure: Record) -> None:
    desk.fails(2, "the URL of the deployed app is not known; set NEXTSTAGE_URL", "--deployed", "send", "RunCompleted")
    desk.settings["NEXTSTAGE_URL"] = "https://app.azurewebsites.net"
    assert desk.run("--deployed", "send", "RunCompleted", "--dry-run").code == 0


def test_doctor_tests_the_deployed_app(desk: Desk, in_azure: Record) -> None:
    """In both places, the option means the same. This test needs the workspaces whose events the app gets."""
    for arguments in (["--deployed", "doctor"], ["doctor", "--deployed"]):
        desk.fails(2, "AML_WORKSPACE_ID is not set", *arguments)


def test_a_hook_of_azd_does_not_read_local_settings(tmp_path: Path) -> None:
    (tmp_path / "local.settings.json").write_text(json.dumps(LOCAL))
    environ = {"NEXTSTAGE_FUNCTION_APP_ID": "id", "JOURNAL_CONNECTION": "https://account.table.core.windows.net"}
    assert deployed(Installation(tmp_path, environ)).environment == environ
