"""docs/performance.md shows exactly the measured and simulated figures."""

import json
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from bench import page, report, simulate
from bench.comparison import Comparison, Target

MACHINE = {
    "processor": "a processor",
    "cores": 2,
    "memory_gib": 3.8,
    "disk_sync_ms": 0.13,
    "system": "Linux",
    "python": "3.11.7",
    "requests": "2.0",
    "azure-functions": "1.24.0",
    "taken_at": "2026-11-22T20:00:00+00:00",
    "seconds": 812,
    "load_before": 0.1,
}


def test_the_page_shows_the_results() -> None:
    document = json.loads(report.RESULTS.read_text())
    assert page.get(report.BLOCK) == report.markdown(document)


def test_the_page_mentions_every_missed_target() -> None:
    prose = page.PAGE.read_text()
    missed = [row["row"] for row in json.loads(report.RESULTS.read_text())["rows"] if row["met"] is False]
    assert [row for row in missed if f"Row {row} misses its target" not in prose] == []


def test_the_page_shows_the_simulation() -> None:
    document = json.loads(simulate.RESULTS.read_text())
    assert list(document) == list(simulate.SCENARIOS)
    assert page.get(simulate.BLOCK) == simulate.markdown(document)


def test_the_simulation_is_reproducible() -> None:
    small = {name: scenario for name, scenario in simulate.SCENARIOS.items() if scenario.events == 10_000}
    document = json.loads(simulate.RESULTS.read_text())
    assert simulate.to_document(simulate.simulate(small)) == {name: document[name] for name in small}


def test_the_plot_shows_the_figures_in_the_table() -> None:
    svg, document = simulate.PLOT.read_text(), json.loads(simulate.RESULTS.read_text())
    for name in simulate.PLOTTED:
        assert f"{name}: {document[name]['queued']:,} queued" in svg


def test_results_are_written_to_the_file_and_into_the_page(tmp_path: Path) -> None:
    results, shown = tmp_path / "results.json", tmp_path / "page.md"
    shown.write_text("before\n<!-- begin figures, made by bench -->\nof last year\n<!-- end figures -->\nafter\n")
    line = Comparison("1", "cold start", "a script", "ms", [(220.0, 165.0)] * 7, Target("≤", 1.35))
    missed = Comparison("3", "CPU time", "a post", "µs", [(1999.0, 1000.0)] * 7, Target("≤", 1.6))
    document = report.to_document(MACHINE, [line, missed])
    report.write(document, results, shown)
    assert json.loads(results.read_text()) == json.loads(json.dumps(document))
    text = shown.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "of last year" not in text
    assert "| 1 | cold start | 220 ms | a script | 165 ms | 1.33 (1.33 to 1.33) | ≤ 1.35 | yes |" in text
    assert "| 3 | CPU time | 1,999 µs | a post | 1,000 µs | 2.00 (2.00 to 2.00) | ≤ 1.6 | no |" in text
    assert "Taken on 2026-11-22 in 812 s: 2 cores (a processor), 3.8 GiB" in text


def test_results_are_shown_as_one_table() -> None:
    console = Console(width=160, record=True, file=StringIO())
    line = Comparison("8c", "per route", "of 10", "ns", [(4_597.0, 0.5)] * 7)
    report.show(report.to_document(MACHINE, [line]), console)
    assert "8c    per route   4,597 ns   of 10     0.50 ns" in console.export_text()


def test_the_error_for_a_page_without_marks_names_the_marks(tmp_path: Path) -> None:
    shown = tmp_path / "page.md"
    shown.write_text("nothing")
    with pytest.raises(ValueError, match="put '<!-- begin figures, made by bench -->'"):
        page.put("figures", "x", shown)
