"""docs/first-deployment.md quotes what the commands really print."""

import ast
import re

import pytest

from tests.support import ROOT
from tests.support.docs import codes, rows, section

PAGE = (ROOT / "docs" / "first-deployment.md").read_text(encoding="utf-8")
OTHERS = {"python 3 is required to run this hook", "is not recognized as an internal or external command"}
"""What azd and Windows print."""

SEEN = {
    "Minute by minute": 2,
    "If it stops before anything is made": 0,
    "If connect fails": 0,
}
"""The sections with messages of the commands, and the column of their table that quotes them."""


def printed() -> set[str]:
    """Return the parts of all strings of the commands; a placeholder separates two parts."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / "tools").rglob("*.py")]
    return {
        node.value
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


@pytest.mark.parametrize("heading", SEEN)
def test_the_quoted_messages_are_printed(heading: str) -> None:
    known = printed()
    quoted = [
        text
        for row in rows(section(PAGE, heading))
        if len(row) == 3
        for text in codes(row[SEEN[heading]])
        if " " in text and not text[0].isupper() and text not in OTHERS
    ]
    assert quoted
    for text in quoted:
        for part in re.split(r"…|aml_event|\d+(?:\.\d+)*|Managed Identity Authorization Error", text):
            assert any(part.strip() in each for each in known), (text, part)
