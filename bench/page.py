"""The generated tables in docs/performance.md, each between two marks with its name."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

PAGE: Final = Path(__file__).parent.parent / "docs" / "performance.md"


def put(name: str, text: str, page: Path = PAGE) -> None:
    """Replace the text between the marks with this name.

    :raises ValueError: if the page does not have the marks.
    """
    before, _, after = _parts(name, page)
    page.write_text(before + text + after, encoding="utf-8")


def get(name: str, page: Path = PAGE) -> str:
    """Return the text between the marks with this name.

    :raises ValueError: if the page does not have the marks.
    """
    return _parts(name, page)[1]


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _parts(name: str, page: Path) -> tuple[str, str, str]:
    begin, end = f"<!-- begin {name}, made by bench -->\n", f"<!-- end {name} -->"
    before, begins, rest = page.read_text(encoding="utf-8").partition(begin)
    shown, ends, after = rest.partition(end)
    if not (begins and ends):
        raise ValueError(f"{page} lacks the marks of the table '{name}'; put '{begin.strip()}' and '{end}' into it")
    return before + begin, shown, end + after
