"""``python -m tools.command_docs``: writes docs/commands.md from the help of the commands, with Typer's generator."""

import re
from pathlib import Path
from typing import Final

import typer
from typer.cli import get_docs_for_click

from tools.cli import app
from tools.help_pages import PROGRAM, RAW

PAGE: Final = Path(__file__).resolve().parents[1] / "docs" / "commands.md"

_NOTICE: Final = "<!-- Generated from the help of the commands by 'make docs'. Change the help instead. -->"


def commands_page() -> str:
    """Return the page, in Markdown."""
    program = typer.main.get_command(app)
    context = typer.Context(program, info_name=PROGRAM)
    page = get_docs_for_click(obj=program, ctx=context, name=f"./{PROGRAM}", title="The operator's commands")
    return re.sub(r"\n{3,}", "\n\n", page.replace(RAW, "").replace("\n\n", f"\n\n{_NOTICE}\n\n", 1)).strip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(commands_page(), encoding="utf-8")
