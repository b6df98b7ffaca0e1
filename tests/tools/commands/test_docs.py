"""docs/commands.md is what the commands say of themselves."""

import re

import typer

from tests.support import ROOT
from tests.tools.conftest import Desk
from tools.cli import app
from tools.command_docs import PAGE, commands_page
from tools.help_pages import EXIT_CODES, epilog


def test_the_page_is_the_commands_own_words() -> None:
    assert PAGE.read_text() == commands_page(), "run 'make docs'"
    assert PAGE == ROOT / "docs" / "commands.md"


def test_every_command_and_every_option_is_there() -> None:
    page = commands_page()
    program = typer.main.get_command(app)
    names = set(getattr(program, "commands", {}))
    assert names >= {"journal", "redrive", "preview", "send", "doctor", "completion"}
    for name in names:
        section = page.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        for parameter in getattr(program, "commands", {})[name].params:
            for option in parameter.opts if parameter.param_type_name == "option" else []:
                assert option == "--help" or re.search(rf"`[^`]*{option}\b", section), f"{name} {option}"


def test_every_command_tells_its_exit_codes_and_an_example() -> None:
    page = commands_page()
    for section in page.split("\n## ")[1:]:
        title = section.partition("\n")[0]
        assert "| exit code | |\n|---|---|\n| 0 | " in section, title
        assert "```sh\npython manage.py " in section or " " in title, title


def test_nothing_is_left_that_markdown_would_take_for_its_own() -> None:
    prose = re.sub(r"```.*?```|`[^`\n]*`|<!--.*?-->", "", commands_page(), flags=re.DOTALL)
    assert not re.search(r"(?<!\\)[*<_]", prose)
    assert "\b" not in prose


def test_the_end_of_a_help_page(desk: Desk) -> None:
    shown = desk.run("journal", "--help").out
    assert "  Examples:\n    python manage.py journal --state parked              # what waits for a person\n" in shown
    assert epilog({"a": "", "bb": "what"}).splitlines() == [
        "\b",
        "Examples:",
        "  python manage.py a",
        "  python manage.py bb   # what",
        "",
        EXIT_CODES,
    ]
