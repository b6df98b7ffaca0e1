"""docs/commands.md, the help pages, a new command, and the files generated from the event types."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support import ROOT
from tests.tools.conftest import Desk
from tools.command_docs import PAGE, commands_page
from tools.event_files import event_files

NEW_COMMAND = '''
"""``manage.py hello``: greets."""

import typer

app = typer.Typer()


@app.command(epilog="Exit codes: 0 always.")
def hello() -> None:
    """Greet the operator."""
    typer.echo("hello, operator")
'''


def test_the_page_matches_the_help_of_the_commands() -> None:
    page = commands_page()
    assert PAGE.read_text() == page, "run 'make docs'"
    assert PAGE == ROOT / "docs" / "commands.md"
    modules = {path.stem.replace("_", "-") for path in (ROOT / "tools" / "commands").glob("[!_]*.py")}
    sections = {section.partition("`")[0]: section for section in page.split("\n## `./manage.py ")[1:]}
    assert set(sections) == modules
    without_exit_codes = [name for name, section in sections.items() if "\nExit code" not in section]
    assert without_exit_codes == [], "end the command's help with them: @app.command(epilog=epilog({…}, …))"
    assert not re.search(r"^ *# *$", page, re.MULTILINE), "an example has no explanation"
    assert not re.search(r"\x08|^\* .*\.\.\.$", page, re.MULTILINE), "a first line is too long for the command list"


def test_a_help_page_does_not_wrap_examples(desk: Desk) -> None:
    shown = desk.run("waits", "--help").out
    assert "\n      ./manage.py waits         # the tasks that wait now\n" in shown
    shown = desk.run("journal", "--help").out
    assert "\n      # what needs your attention\n      ./manage.py journal --state parked\n" in shown


def test_a_command_is_one_module(tmp_path: Path) -> None:
    for name in ("tools", "shared", "handlers"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "manage.py", tmp_path)
    (tmp_path / "docs").mkdir()
    (tmp_path / "tools" / "commands" / "hello.py").write_text(NEW_COMMAND)

    def run(*arguments: str) -> str:
        command = [sys.executable, *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60).stdout

    assert run("manage.py", "hello") == "hello, operator\n"
    assert "hello       Greet the operator." in run("manage.py", "--help")
    run("-m", "tools.command_docs")
    assert "## `./manage.py hello`\n\nGreet the operator.\n" in (tmp_path / "docs" / "commands.md").read_text()


def test_the_generated_files_are_up_to_date() -> None:
    files = event_files()
    different = [file for file, text in files.items() if (ROOT / file).read_text(encoding="utf-8") != text]
    assert not different, "run 'make docs'"


def test_there_is_no_other_sample() -> None:
    samples = {path.relative_to(ROOT).as_posix() for path in (ROOT / "devstack" / "events").glob("*.json")}
    assert samples == {file for file in event_files() if file.startswith("devstack/events/")}
