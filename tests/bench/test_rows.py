"""Every row runs with the smallest sizes. The tests check that it works, not how long it takes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from bench import report
from bench.__main__ import ROWS, measure
from bench.sizes import TINY
from devstack.azurite import installation_problem
from tests.support.effort import amount
from tests.support.prerequisites import need

NEEDS_AZURITE = {"6", "9b", "11"}
LINES = {
    "1": ["1", "1b", "10b"],
    "2": ["2"],
    "3": ["3"],
    "4": ["4"],
    "5": ["5"],
    "6": ["6", "6b"],
    "7": ["7", "7b"],
    "8": ["8", "8b", "8c", "8d"],
    "9": ["9"],
    "9b": ["9b", "9c"],
    "10": ["10"],
    "11": ["11", "11b", "11c"],
    "12": ["12"],
    "13": ["13"],
}
# The other two take the longest. Rows 10 and 9 use most of their code.
USUAL = [row for row in ROWS if row not in {"1", "9b"}]
LEAST = {"11": 2, "11b": 1, "11c": 2}  # transactions, calls of Azure DevOps, the same with tags


@pytest.fixture
def console() -> Console:
    return Console(quiet=True)


@pytest.mark.parametrize("row", amount(USUAL, long=[*ROWS]))
def test_a_row_can_be_measured(row: str, tmp_path: Path, console: Console) -> None:
    if row in NEEDS_AZURITE:
        need(installation_problem())
    lines = measure([row], TINY, tmp_path, console)
    assert sorted(line.row for line in lines) == sorted(LINES[row])
    for line in lines:
        assert line.ratio.samples == 2
        assert line.theirs.median > 0
        assert line.ours.median > 0 or row == "8"  # the difference of two short times may be negative
        if (least := LEAST.get(line.row)) is not None:
            assert (line.ours.low, line.ours.high, line.theirs.median) == (least, least, least)


def test_a_quick_run_prints_a_table_and_writes_nothing() -> None:
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


def test_lines_are_sorted_by_row_number(tmp_path: Path, console: Console) -> None:
    lines = measure(["13", "3"], TINY, tmp_path, console)
    assert [line.row for line in lines] == ["3", "13"]


def test_the_results_file_is_complete() -> None:
    document = json.loads(report.RESULTS.read_text())
    assert [row["row"] for row in document["rows"]] == sorted(
        (row for rows in LINES.values() for row in rows), key=report.in_order
    )
    for row in document["rows"]:
        assert row["ratio"]["samples"] >= 7
        assert row["ratio"]["low"] <= row["ratio"]["median"] <= row["ratio"]["high"]


def test_rows_can_be_measured_again(tmp_path: Path, console: Console) -> None:
    results = tmp_path / "results.json"
    machine = {"cores": 2, "taken_at": "2026-11-20T10:00:00+00:00", "load_before": 0.1, "seconds": 700}
    lines = measure(["2", "8"], TINY, tmp_path, console)
    results.write_text(json.dumps(report.to_document(machine, lines)))
    later = {**machine, "taken_at": "2026-11-21T10:00:00+00:00", "load_before": 0.3, "seconds": 9}
    merged = report.merged(report.to_document(later, lines[:1]), results)
    assert merged["machine"] == machine
    taken = [(row["row"], row.get("taken_at", "")[:10], row.get("load_before")) for row in merged["rows"]]
    assert taken == [("2", "2026-11-21", 0.3), *((row, "", None) for row in LINES["8"])]
    with pytest.raises(ValueError, match="the earlier results have another cores; measure all rows again"):
        report.merged(report.to_document({**later, "cores": 4}, lines), results)
