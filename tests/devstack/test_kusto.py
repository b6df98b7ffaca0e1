"""The check of Kusto queries shows where a mistake is, and reports why it cannot run."""

import re
from pathlib import Path

import pytest

from devstack.kusto import TABLES, KustoFailed, findings, installation_problem
from tests.support.prerequisites import need


def test_a_finding_has_line_and_column_and_belongs_to_its_query() -> None:
    need(installation_problem())
    wrong = "traces\n| where severityLevel == 4\n| project messages, tim"
    right = f"traces | project {re.sub(r': (string|int|datetime|dynamic)', '', TABLES['traces'])}"
    first, second = findings([wrong, right])
    assert [each.split(" does ")[0] for each in first] == ["3:11: The name 'messages'", "3:21: The name 'tim'"]
    assert second == []


def test_it_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(KustoFailed, match=r"install Node\.js 20, then run 'npm ci --prefix devstack/kusto'"):
        findings(["traces"])


def test_its_failure_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need(installation_problem())
    node = tmp_path / "node"
    node.write_text("#!/bin/sh\necho 'no memory left' >&2\nexit 3\n")
    node.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(KustoFailed, match=r"failed \(exit code 3\): no memory left"):
        findings(["traces"])
