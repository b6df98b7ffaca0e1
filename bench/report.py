"""The results as a file, as a table on the screen and as a table in docs/performance.md."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from bench import page
from bench.comparison import Comparison

RESULTS: Final = Path(__file__).parent / "results.json"
BLOCK: Final = "figures"
_OF_A_RUN: Final = {"taken_at", "seconds", "load_before", "disk_sync_ms"}

_HEADERS: Final = ("row", "measure", "ours", "against", "theirs", "ratio (middle half)", "target", "met")


def to_document(machine: Mapping[str, Any], lines: Sequence[Comparison]) -> dict[str, Any]:
    """Return the content of the results file: each figure with its spread, and whether its target is met."""
    rows = [
        {**asdict(line), "target": None if line.target is None else str(line.target), "met": line.is_met}
        for line in lines
    ]
    return {"machine": dict(machine), "rows": rows}


def merged(document: Mapping[str, Any], results: Path = RESULTS) -> dict[str, Any]:
    """Return the content of the results file with the rows of a document in place of the earlier ones.

    :raises ValueError: the document is from another machine or other software, so that the rows cannot be compared.
    """
    before = json.loads(results.read_text(encoding="utf-8"))
    machine, again = before["machine"], document["machine"]
    differing = [name for name in again if name not in _OF_A_RUN and again[name] != machine[name]]
    if differing:
        raise ValueError(f"the earlier results have another {', '.join(differing)}; measure all rows again")
    run = {name: again[name] for name in ("taken_at", "load_before")}
    rows = {row["row"]: row for row in before["rows"]} | {row["row"]: {**row, **run} for row in document["rows"]}
    return {"machine": machine, "rows": sorted(rows.values(), key=lambda row: in_order(row["row"]))}


def in_order(row: str) -> tuple[int, str]:
    """Return the sort key of a row such as ``9b``."""
    return int(row.rstrip("bcd")), row


def write(document: Mapping[str, Any], results: Path = RESULTS, shown: Path = page.PAGE) -> None:
    """Write the results file and put the table into the page."""
    results.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    page.put(BLOCK, markdown(document), shown)


def markdown(document: Mapping[str, Any]) -> str:
    """Return the table and a description of the machine."""
    machine = document["machine"]
    taken = (
        f"\nTaken on {machine['taken_at'][:10]} in {machine['seconds']:,} s: {machine['cores']} cores "
        f"({machine['processor']}), {machine['memory_gib']:g} GiB, a disk that takes {machine['disk_sync_ms']:g} ms to "
        f"write a page durably, {machine['system']}, Python {machine['python']}, "
        f"requests {machine['requests']}, azure-functions {machine['azure-functions']}. "
        f"The load average was {machine['load_before']:g} before.\n"
    )
    return page.table(_HEADERS, [_cells(row) for row in document["rows"]]) + taken + _taken_again(document["rows"])


def _taken_again(rows: Sequence[Mapping[str, Any]]) -> str:
    runs: dict[str, list[str]] = {}
    for row in rows:
        if "taken_at" in row:
            run = f"on {row['taken_at'][:10]} at a load average of {row['load_before']:g}"
            runs.setdefault(run, []).append(row["row"])
    return "".join(f"Measured again {run}: {', '.join(names)}.\n" for run, names in runs.items())


def show(document: Mapping[str, Any], console: Console) -> None:
    """Print the table."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for header in _HEADERS:
        table.add_column(header, overflow="fold")
    for row in document["rows"]:
        table.add_row(*_cells(row), style="red" if row["met"] is False else None)
    console.print(table)


def _cells(row: Mapping[str, Any]) -> list[str]:
    unit = f" {row['unit']}" if row["unit"] else ""
    ratio = row["ratio"]
    return [
        row["row"],
        row["measure"],
        _number(row["ours"]["median"]) + unit,
        row["against"],
        _number(row["theirs"]["median"]) + unit,
        f"{ratio['median']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f})",
        row["target"] or "report",
        {True: "yes", False: "no", None: ""}[row["met"]],
    ]


def _number(value: float) -> str:
    """Format with about three significant digits, without an exponent."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
