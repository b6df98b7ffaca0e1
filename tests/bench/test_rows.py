"""Every row is measured for real, as little as can be: whether it works, not how long it takes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from bench import report
from bench.__main__ import ROWS, measure
from bench.sizes import TINY
from devstack.azurite import why_not_installed
from tests.support.bench_lines import LINES
from tests.support.journal.stores import without_azurite

NEEDS_AZURITE = {"6", "9b", "11"}


@pytest.fixture
def console() -> Console:
    return Console(quiet=True)


@pytest.mark.parametrize("row", ROWS)
def test_a_row_can_be_measured(row: str, tmp_path: Path, console: Console) -> None:
    if row in NEEDS_AZURITE and (reason := why_not_installed()) is not None:
        without_azurite(reason, os.environ)
    lines = measure([row], TINY, tmp_path, console)
    assert sorted(line.row for line in lines) == sorted(LINES[row])
    for line in lines:
        assert line.ours.median > 0 or row == "8"  # the difference of two short times may be anything
        assert line.theirs.median > 0
        assert line.ratio.samples == 2


def test_an_event_takes_the_least_possible(tmp_path: Path, console: Console) -> None:
    if (reason := why_not_installed()) is not None:
        without_azurite(reason, os.environ)
    counted = {line.row: (line.ours, line.theirs.median) for line in measure(["11"], TINY, tmp_path, console)}
    assert {row: (ours.low, ours.high, least) for row, (ours, least) in counted.items()} == {
        "11": (2, 2, 2),  # transactions
        "11b": (1, 1, 1),  # calls of Azure DevOps
        "11c": (2, 2, 2),  # with tags
    }


def test_a_look_prints_a_table_and_writes_nothing() -> None:
    before = report.RESULTS.read_bytes()
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--quick", "--only", "8"],
        cwd=report.RESULTS.parents[1],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "time to resolve an event with 1,000 routes" in done.stdout
    assert report.RESULTS.read_bytes() == before


def test_lines_come_in_the_order_of_their_numbers(tmp_path: Path, console: Console) -> None:
    lines = measure(["10", "8", "1"], TINY, tmp_path, console)
    assert [line.row for line in lines] == ["1", "1b", "8", "8b", "8c", "8d", "10", "10b"]
