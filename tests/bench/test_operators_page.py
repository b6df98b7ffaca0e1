"""The benchmark of the operator's page runs. How long it takes is not checked."""

from pathlib import Path

import pytest

from bench.operators_page import PAGES, sqlite_pages


def test_each_page_is_timed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    sqlite_pages(tmp_path, 200, repeats=1)
    lines = capfd.readouterr().out.splitlines()
    assert [line for line in lines if "first page" in line and "200 records" in line]
    assert all(any(name in line for line in lines) for name in PAGES)
    assert all(line.endswith(" ms") for line in lines)
