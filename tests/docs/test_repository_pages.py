"""What a repository has for its users: upgrade notes, the security policy, forms, and a release."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared.journal import sqlite, stored_form
from shared.version import VERSION
from tests.support import ROOT
from tests.support.docs import rows, section

CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
UPGRADING = (ROOT / "docs" / "upgrading.md").read_text(encoding="utf-8")
RELEASE = (ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8")
FORMS = sorted(path for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if path.stem != "config")
TEXTS = [*FORMS, ROOT / ".github" / "pull_request_template.md", ROOT / "SECURITY.md"]

VERSIONS = re.findall(r"^## \[([^\]]+)\]", CHANGELOG, re.MULTILINE)


def test_each_version_has_upgrade_notes() -> None:
    assert VERSION in VERSIONS
    sections = re.findall(r"^## (\d+\.\d+\.\d+|Unreleased)$", UPGRADING, re.MULTILINE)
    assert sections == VERSIONS


def test_the_versions_of_the_journal_are_documented() -> None:
    table = rows(section(UPGRADING, "Versions of the journal"))
    assert [row[0] for row in table] == VERSIONS[::-1]
    _, schemas, file = table[-1]
    assert re.findall(r"\d+", schemas) == [str(stored_form._SCHEMA_WITHOUT_GATHERED), str(stored_form.SCHEMA)]
    assert file == str(sqlite._VERSION)


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_named_commands_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    commands = {tool.stem for tool in (ROOT / "tools" / "commands").glob("*.py")}
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"manage\.py ([a-z]+)", text)) <= commands
    assert set(re.findall(r"`make ([a-z-]+)", text)) <= targets


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.name)
def test_a_form_is_valid_and_warns_of_secrets(path: Path) -> None:
    """Source: GitHub documentation, syntax for issue forms and for GitHub's form schema."""
    form: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert set(form) == {"name", "description", "labels", "body"}
    first, *fields = form["body"]
    assert first["type"] == "markdown"
    assert "secrets" in first["attributes"]["value"]
    for field in fields:
        assert set(field) <= {"type", "id", "attributes", "validations"}
        assert field["type"] in {"dropdown", "input", "textarea"}
        assert set(field["attributes"]) <= {"label", "description", "render", "options"}
        assert set(field.get("validations", {})) <= {"required"}
    for values in ([field["id"] for field in fields], [field["attributes"]["label"] for field in fields]):
        assert len(set(values)) == len(values)


def test_a_bug_report_asks_for_version_and_doctor() -> None:
    text = (ROOT / ".github" / "ISSUE_TEMPLATE" / "bug.yml").read_text(encoding="utf-8")
    assert {"manage.py --version", "manage.py doctor --json"} <= set(re.findall(r"`(?:\./)?(manage\.py [^`]+)`", text))


class TestRelease:
    STEPS = yaml.safe_load(RELEASE)["jobs"]["release"]["steps"]

    def run(self, name: str, tag: str, folder: Path) -> int:
        (script,) = (step["run"] for step in self.STEPS if step.get("name", "").startswith(name))
        python = folder / "python"
        python.write_text(f"#!/bin/sh\necho {VERSION}\n")
        python.chmod(0o755)
        (folder / "CHANGELOG.md").write_text(CHANGELOG, encoding="utf-8")
        environment = {"PATH": f"{folder}:/usr/bin:/bin", "GITHUB_REF_NAME": tag}
        return subprocess.run(["/bin/sh", "-ec", script], cwd=folder, env=environment, check=False).returncode

    def test_the_tag_must_name_the_version(self, tmp_path: Path) -> None:
        assert self.run("Compare", f"v{VERSION}", tmp_path) == 0
        assert self.run("Compare", "v99.0.0", tmp_path) == 1

    def test_the_notes_are_the_section_of_the_changelog(self, tmp_path: Path) -> None:
        assert self.run("Take", "v0.1.0", tmp_path) == 0
        found = re.search(r"^## \[0\.1\.0\][^\n]*\n(.*?)(?=^## |\Z)", CHANGELOG, re.MULTILINE | re.DOTALL)
        assert found is not None
        assert (tmp_path / "notes.md").read_text(encoding="utf-8").strip() == found[1].strip()
        assert self.run("Take", "v99.0.0", tmp_path) == 1


def test_the_readme_makes_the_settings_before_a_command_needs_them() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert 0 < text.index("make setup") < text.index("./manage.py check") < text.index("./manage.py explain")
