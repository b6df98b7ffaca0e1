"""CI on GitHub and on Azure Pipelines: both run the same make targets, with minimal permissions."""

import re
from typing import Any

import yaml

from tests.support import ROOT

GITHUB = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
RELEASE = (ROOT / ".github" / "workflows" / "release.yml").read_text()
AZURE = (ROOT / "pipelines" / "deploy-nextstage.yml").read_text()


def jobs() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(GITHUB)["jobs"]
    return found


def test_both_run_the_same_make_targets() -> None:
    github = [step["run"] for job in jobs().values() for step in job["steps"] if "run" in step]
    (build,) = (stage for stage in yaml.safe_load(AZURE)["stages"] if stage["stage"] == "build")
    azure = [step["script"] for job in build["jobs"] for step in job["steps"] if "script" in step]
    assert github == azure == ["make lint", "make coverage", "make package"]


def test_actions_are_pinned_to_a_commit_with_their_version_in_a_comment() -> None:
    used = re.findall(r"uses: (.*)", GITHUB + RELEASE)
    assert used
    for action in used:
        assert re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action
    assert len({action.split("@")[0] for action in used}) == len(set(used)), "each action has only one version"


def test_jobs_may_only_read_the_repository() -> None:
    assert yaml.safe_load(GITHUB)["permissions"] == {}
    assert [job["permissions"] for job in jobs().values()] == [{"contents": "read"}] * 2
    checkouts = [step for job in jobs().values() for step in job["steps"] if "checkout" in step.get("uses", "")]
    assert [step["with"] for step in checkouts] == [{"persist-credentials": False}] * 2


def test_only_a_release_may_write_and_only_for_a_tag() -> None:
    release = yaml.safe_load(RELEASE)
    assert release[True] == {"push": {"tags": ["v*"]}}  # YAML reads "on" as true
    assert (release["permissions"], release["jobs"]["release"]["permissions"]) == ({}, {"contents": "write"})
    assert release["jobs"]["release"]["steps"][0]["with"] == {"persist-credentials": False}


def test_only_main_is_deployed_and_no_secret_is_named() -> None:
    (deploy,) = (stage for stage in yaml.safe_load(AZURE)["stages"] if stage["stage"] == "deploy")
    assert "eq(variables['Build.SourceBranch'], 'refs/heads/main')" in deploy["condition"]
    assert not re.search(r"(?i)secrets\.|password|\bpat\b|connectionstring", GITHUB + RELEASE + AZURE)
