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
    assert ["ok", "settings", "read from the environment"] in desk.run("--deployed", "doctor").rows


def test_an_event_for_the_deployed_app_is_not_sent_to_this_machine(desk: Desk, in_azure: Record) -> None:
    desk.fails(2, "the URL of the deployed app is not known; set NEXTSTAGE_URL", "--deployed", "send", "RunCompleted")


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


def test_a_hook_of_azd_does_not_read_local_settings(tmp_path: Path) -> None:
    (tmp_path / "local.settings.json").write_text(json.dumps(LOCAL))
    environ = {"NEXTSTAGE_FUNCTION_APP_ID": "id", "JOURNAL_CONNECTION": "https://account.table.core.windows.net"}
    assert deployed(Installation(tmp_path, environ)).environment == environ
