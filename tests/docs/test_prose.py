"""Plain English: phrases that documentation, comments, docstrings and messages must not contain."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.support import ROOT
from tests.support.prerequisites import need

# Phrases that are correct but hard to read, and what to write instead. A space matches a line break too.
BANNED: Final = {
    r"(?<!there\s)(is|are|was|were) no (?!longer\b|more than\b|less than\b)[a-z]+": "is not a …, there is no …",
    r"whoever": "the person, delivery or process that …",
    r"((?<=[.#]\s)|(?<=\"\"\"))nobody": "a sentence that starts with its subject",
    r"a text": "a string",
    r"(comes?|came) of (it|its|an?|the|this|that|them)": "happens to …, results from …",
    r"takes? ([\w']+ ){1,4}no more": "rejects …, no longer accepts …",
    r"stands? (twice|again)": "appears twice",
    r"by (him|her|it|them)sel(f|ves)": "on its own, automatically",
    r"anew": "again",
    r"for good": "permanently",
    r"for ever": "forever, indefinitely",
    r"one's own": "your own, a separate …",
    r"beside": "next to, in addition to",
    r"(is|are|be) held (for|against)": "is treated as, is compared with",
    r"(is|are) said": "is reported, is stated",
    r"under way": "in progress",
    r"one too many": "an orphan",
    r"(un)?mend(s|ed|ing)?": "fix, correct",
    r"lest": "otherwise …",
    r"only then (is|are|does|do|has|have|can|may)": "… only after that",
}
EXEMPT: Final = ("tests/contracts/", "tests/docs/test_prose.py")


def tracked_files() -> list[Path]:
    """Return the Markdown and Python files in the repository."""
    need(None if shutil.which("git") and (ROOT / ".git").exists() else "this folder is not a clone with git")
    command = ["git", "ls-files", "*.md", "*.py"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return [ROOT / name for name in names if not name.startswith(EXEMPT) and (ROOT / name).exists()]


def findings(text: str) -> list[tuple[int, str, str]]:
    """Return line, phrase and replacement of each banned phrase in a string."""
    return sorted(
        (text.count("\n", 0, found.start()) + 1, " ".join(found[0].split()), instead)
        for phrase, instead in BANNED.items()
        for found in re.finditer(rf"\b{phrase}\b".replace(" ", r"\s+"), text, re.IGNORECASE)
    )


@pytest.mark.parametrize(
    ("text", "phrases"),
    [
        ("'6 hours' is no duration", ["is no duration"]),
        ("there is no route, which is no longer used", []),
        ("one\ntwo is\n    no route", ["is no route"]),
        ('"""Nobody waits. Whoever asks, nobody answers."""', ["Nobody", "Whoever"]),
        ("for goods, a texture, comment", []),
    ],
)
def test_phrases_are_found(text: str, phrases: list[str]) -> None:
    assert [phrase for _, phrase, _ in findings(text)] == phrases


def test_no_file_contains_a_banned_phrase() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {phrase}: write '{instead}'"
        for path in tracked_files()
        for line, phrase, instead in findings(path.read_text(encoding="utf-8"))
    ]
    assert not found, "\n" + "\n".join(found)
