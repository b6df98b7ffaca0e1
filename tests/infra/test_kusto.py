"""Every query is valid for Microsoft's language service, with the tables that Application Insights has."""

import re

import pytest

from devstack.kusto import findings, installation_problem
from tests.infra import bicep
from tests.infra.bicep import INFRA
from tests.support import ROOT
from tests.support.prerequisites import need

BEGINNING = r"(?:union |traces\b|exceptions\b|requests\b)"


@pytest.fixture(autouse=True)
def installed() -> None:
    need(installation_problem())


def queries() -> dict[str, str]:
    """Return the deployed and the documented queries. A documented one is a block, or code within a line."""
    found = {path.name: path.read_text(encoding="utf-8") for path in sorted((INFRA / "queries").glob("*.kql"))}
    for path in sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]):
        text = path.read_text(encoding="utf-8")
        blocks = re.findall(r"(?ms)^```kusto\n(.*?)^```", text)
        inline = re.findall(rf"(?s)`({BEGINNING}[^`|]*\|[^`]*)`", text.replace(r"\|", "|"))  # escaped in tables
        found |= {f"{path.name} {number}": query for number, query in enumerate([*blocks, *inline])}
    return found


def test_every_query_is_valid() -> None:
    named = queries()
    assert {name.split()[0] for name in named} >= {"alert-no-functions.kql", "cost.md", "operating.md"}
    wrong = {name: found for name, found in zip(named, findings([*named.values()]), strict=True) if found}
    assert wrong == {}


def test_no_query_is_written_in_bicep() -> None:
    """All are in ``infra/queries/``, where the other tests find them."""
    written = re.findall(r"\bquery: (?!loadTextContent\(|\w+\.query\n).*", "".join(map(bicep.read, bicep.every_file())))
    assert written == []


MUTATIONS = [
    ("column", "timestamp, message", "timestamp, messages", "'messages' does not refer to any known column"),
    ("table", "traces\n", "trace\n", "'trace' does not refer to any known table"),
    ("column of another table", "timestamp, message", "timestamp, outerMessage", "'outerMessage' does not refer"),
    ("function", "timestamp, message", "timestamp, tostrin(message)", "'tostrin' does not refer to any known function"),
    ("argument", "timestamp, message", "timestamp, strlen()", "expects 1 argument"),
    ("type", "severityLevel == 4", "message > 4", "not defined for the operand types"),
    ("operator of strings", "severityLevel == 4", 'severityLevel has "4"', "not defined for the operand types"),
    ("condition", "severityLevel == 4", "severityLevel", "must have the type bool"),
    ("dynamic group", "| project timestamp, message", "| summarize count() by customDimensions.x", "'dynamic' is not"),
    ("syntax", "| project", "| projekt", "Query operator expected"),
    ("missing operand", "severityLevel == 4", "severityLevel ==", "Missing expression"),
    ("open bracket", "severityLevel == 4", "(severityLevel == 4", "Expected: )"),
]


def test_a_query_with_a_mistake_is_refused() -> None:
    original = (INFRA / "queries" / "alert-orphans.kql").read_text(encoding="utf-8")
    mutants = [original.replace(before, after) for _, before, after, _ in MUTATIONS]
    assert original not in mutants
    for (what, *_, message), found in zip(MUTATIONS, findings(mutants), strict=True):
        assert message in "\n".join(found), (what, found)
