"""A reader for the documents that tests compare with the code."""

import re


def section(text: str, heading: str) -> str:
    """Return the part of a document from a second-level heading to the next one."""
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found is not None, f"no section '{heading}'"
    return found[1]


def rows(text: str) -> list[list[str]]:
    """Return the cells of the table in a section, without its header."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


def codes(cell: str) -> list[str]:
    """Return the strings in backticks."""
    return re.findall(r"`([^`]+)`", cell)
