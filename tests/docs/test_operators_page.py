"""The page on the operator's page: its pictures, its pages and its flags are the real ones."""

import re

from bench.screenshots import SHOTS
from tests.support import ROOT
from tests.support.docs import codes, rows, section
from tools.commands.page import DEFAULT_PORT

TEXT = (ROOT / "docs" / "page.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_picture_is_taken_by_make_screenshots_and_shown() -> None:
    taken = {file for shot in SHOTS for file in shot.files.values()}
    assert set((ROOT / "docs").glob("page-*.png")) == taken
    assert set(re.findall(r"page-[\w-]+\.png", TEXT + README)) == {file.name for file in taken}


def test_pictures_are_small() -> None:
    assert [file.name for shot in SHOTS for file in shot.files.values() if file.stat().st_size > 150_000] == []


def test_every_page_of_the_navigation_is_explained() -> None:
    layout = (ROOT / "tools" / "page" / "templates" / "layout.html").read_text(encoding="utf-8")
    (navigation,) = re.findall(r"{% for name, text in \[(.*?)\] %}", layout, re.DOTALL)
    explained = {
        name for row in rows(section(TEXT, "What each page answers")) for name in re.findall(r"\*\*(\w+)\*\*", row[0])
    }
    assert explained == {*re.findall(r'\("\w+", "(\w+)"\)', navigation), "Record"}


def test_every_flag_is_explained() -> None:
    explained = {codes(row[0])[0].split()[0]: row[1] for row in rows(section(TEXT, "Flags"))}
    assert set(explained) == {"--port", "--no-browser"}
    assert f"{DEFAULT_PORT} by default" in explained["--port"]
