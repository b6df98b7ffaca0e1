"""``python -m tools.command_docs``: writes docs/commands.md from the commands' own help, so that the two agree."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from textwrap import fill
from typing import Any, Final

import typer

from tools.cli import PROGRAM, app

PAGE: Final = Path(__file__).resolve().parents[1] / "docs" / "commands.md"

_NOTICE: Final = "<!-- Made from the commands by 'make docs'; change their help instead. -->"
_RAW: Final = "\b"
_WIDTH: Final = 118
_CODE: Final = re.compile(
    r"(?<!\w)'(?P<quoted>[^']+)'(?!\w)"  # what the help puts in quotes is typed as it is
    r"|(?<![\w`-])--?[a-z][a-z-]*(?![\w-])"  # an option
    r"|\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b"  # a setting
    r"|(?<![\w`/.])[\w*][\w*.]*\.(?:json|yaml|py)\b"  # a file
)
_CONSTRAINTS: Final = re.compile(r"\s*\[([^\]]*)\]$")

# The library that typer brings with it has no public name for its commands and parameters.
_Command = Any
_Parameter = Any


def commands_page() -> str:
    """The whole page, in Markdown."""
    program = typer.main.get_command(app)
    context = typer.Context(program, info_name=PROGRAM)
    commands = list(_commands(program, context))
    lines = ["# The operator's commands", "", _NOTICE, ""]
    lines += [*_prose(program.help or ""), "They need `pip install -r requirements/tools.txt`.", ""]
    lines += ["| command | |", "|---|---|"]
    for command, inner in commands:
        anchor = _title(inner).replace(" ", "-")
        lines.append(f"| [`{_title(inner)}`](#{anchor}) | {_cell(command.get_short_help_str(limit=200))} |")
    lines += ["", *_ending(program.epilog or "")]
    for command, inner in commands:
        lines += _section(command, inner)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).rstrip() + "\n"


def _commands(group: _Command, context: typer.Context) -> Iterator[tuple[_Command, typer.Context]]:
    """All commands below a group, by name; what groups them comes before them."""
    for name, command in sorted(getattr(group, "commands", {}).items()):
        inner = typer.Context(command, info_name=name, parent=context)
        yield command, inner
        yield from _commands(command, inner)


def _section(command: _Command, context: typer.Context) -> Iterator[str]:
    yield from (f"## {_title(context)}", "")
    usage = " ".join([f"python {context.command_path}", *command.collect_usage_pieces(context)])
    yield from ("```", usage, "```", "")
    yield from _prose(command.help or "")
    parameters = [one for one in command.get_params(context) if one.name != "help"]
    for kind in ("argument", "option"):
        rows = [_row(one, context) for one in parameters if one.param_type_name == kind]
        if rows:
            yield from (f"| {kind} | |", "|---|---|", *rows, "")
    yield from _ending(command.epilog or "")


def _row(parameter: _Parameter, context: typer.Context) -> str:
    names, text = parameter.get_help_record(context)
    if parameter.param_type_name == "argument":
        names = names.partition(" <")[0]
    found = _CONSTRAINTS.search(text)
    text = _CONSTRAINTS.sub("", text)
    notes = [_constraint(part) for part in found[1].split("; ")] if found else []
    return f"| `{names.replace('|', chr(92) + '|')}` | {' '.join([_cell(text), *notes])} |"


def _constraint(text: str) -> str:
    """What typer says in brackets behind a help text."""
    if text.startswith("default: "):
        value, comma, rest = text.removeprefix("default: ").partition(", ")
        return f"Default: `{value}`{comma}{rest}."
    if text.startswith("x>="):
        return f"At least {text.removeprefix('x>=')}."
    return f"{text.capitalize()}."


def _ending(epilog: str) -> Iterator[str]:
    """Examples as a block of shell, exit codes as a table."""
    for paragraph in _paragraphs(epilog):
        if paragraph.startswith("Exit codes: "):
            codes = re.split(r"; (?=\d+ )", paragraph.removeprefix("Exit codes: ").rstrip("."))
            rows = (code.partition(" ") for code in codes)
            yield from (
                "| exit code | |",
                "|---|---|",
                *(f"| {code} | {_cell(means)} |" for code, _, means in rows),
                "",
            )
        else:
            yield from _prose(paragraph)


def _prose(text: str) -> Iterator[str]:
    for paragraph in _paragraphs(text):
        if paragraph.startswith(_RAW):
            head, *lines = paragraph.splitlines()[1:]
            if head.startswith(" "):
                head, lines = "", [head, *lines]
            yield from ([head, ""] if head else [])
            yield from ("```sh", *inspect.cleandoc("\n".join(["", *lines])).splitlines(), "```", "")
        else:
            yield from (fill(_marked(paragraph), _WIDTH, break_long_words=False, break_on_hyphens=False), "")


def _paragraphs(text: str) -> list[str]:
    return [part for part in re.split(r"\n\s*\n", inspect.cleandoc(text)) if part]


def _marked(text: str) -> str:
    """Prose with code as code, and with nothing that Markdown would take for its own."""
    pieces, position = [], 0
    for match in _CODE.finditer(text):
        pieces += [_escaped(text[position : match.start()]), f"`{match['quoted'] or match[0]}`"]
        position = match.end()
    return "".join([*pieces, _escaped(text[position:])])


def _escaped(text: str) -> str:
    return re.sub(r"([*<_|\\])", r"\\\1", text)


def _cell(text: str) -> str:
    return re.sub(r"(?<!\\)\|", r"\\|", _marked(text))


def _title(context: typer.Context) -> str:
    return context.command_path.removeprefix(f"{PROGRAM} ")


if __name__ == "__main__":
    PAGE.write_text(commands_page(), encoding="utf-8")
