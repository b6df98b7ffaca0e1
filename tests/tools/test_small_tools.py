"""The parts that the commands use: console, local settings, the program itself."""

import io
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.journal.journal import Journal
from shared.journal.records import Record
from shared.version import VERSION
from tests.support import ROOT
from tests.support.builders import run_completed
from tests.tools.conftest import UNSOLVABLE, Desk, Result
from tools.cli import main
from tools.commands import GROUPS
from tools.console import Console, masked, printable
from tools.errors import CommandFailed
from tools.installation import Installation
from tools.local_settings import with_local_settings

COMMANDS = sorted(path.stem.replace("_", "-") for path in (ROOT / "tools" / "commands").glob("[a-z]*.py"))


class TestConsole:
    ROWS = (("0123456789ab", "parked", "why " * 10 + "not"), ("1", "queued", "b"), ("2", "ok", ""))

    def output(self, monkeypatch: pytest.MonkeyPatch, columns: int, *, is_terminal: bool = True) -> io.StringIO:
        """Replace standard output. The variables are for terminals only."""
        stream = io.StringIO()
        monkeypatch.setattr(stream, "isatty", lambda: is_terminal)
        monkeypatch.setattr(sys, "stdout", stream)
        monkeypatch.delenv("NO_COLOR", raising=False)
        for name, value in {"COLUMNS": str(columns), "FORCE_COLOR": "1", "TERM": "xterm"}.items():
            monkeypatch.setenv(name, value)
        return stream

    def test_a_table_in_a_pipe_is_neither_wrapped_nor_colored(self, monkeypatch: pytest.MonkeyPatch) -> None:
        stream = self.output(monkeypatch, 40, is_terminal=False)
        Console().table(("KEY", "STATE", "REASON"), self.ROWS)
        assert stream.getvalue().splitlines() == [
            "KEY           STATE   REASON",
            f"0123456789ab  parked  {'why ' * 10}not",
            "1             queued  b",
            "2             ok",
        ]

    def test_the_last_column_goes_below_if_there_is_no_room(self, monkeypatch: pytest.MonkeyPatch) -> None:
        terminal = self.output(monkeypatch, 40)
        Console().table(("KEY", "STATE", "REASON"), self.ROWS)
        assert terminal.getvalue().splitlines() == [
            "KEY           STATE",
            "    REASON",
            "0123456789ab  \x1b[1;31mparked\x1b[0m",
            "    why why why why why why why why why",
            "      why not",
            "1             \x1b[32mqueued\x1b[0m",
            "    b",
            "2             \x1b[32mok\x1b[0m",
        ]

    def test_with_room_the_last_column_is_wrapped_in_its_place(self, monkeypatch: pytest.MonkeyPatch) -> None:
        terminal = self.output(monkeypatch, 60)
        Console().table(("KEY", "REASON"), [("0123456789ab", "why " * 10 + "not"), ("1", "b")])
        assert terminal.getvalue().splitlines() == [
            "KEY           REASON",
            f"0123456789ab  {'why ' * 10}not",
            "1             b",
        ]
        Console().row(("0123456789ab", "why " * 20 + "not"), [12])
        assert terminal.getvalue().splitlines()[-2:] == [
            "0123456789ab  " + "why " * 10 + "why",
            " " * 16 + "why " * 9 + "not",
        ]

    def test_words_longer_than_the_line_are_never_broken(self, monkeypatch: pytest.MonkeyPatch) -> None:
        terminal = self.output(monkeypatch, 40)
        route, link = "long-" * 10, f"https://x/{'y' * 50}"
        Console().row((route, "key", "18 chars and a bit", f"run 7 {link} was queued"), [12, 12, 12])
        Console().finding("routes.yaml:1:1:", "error", f"see {link}")
        lines = [re.sub(r"\x1b\[[\d;]*m", "", line) for line in terminal.getvalue().splitlines()]
        assert lines == [
            route,
            "    key           18 chars and a bit",
            "    run 7",
            f"      {link}",
            "      was queued",
            "routes.yaml:1:1: error: see",
            f"  {link}",
        ]

    def test_answers_to_a_question(self, monkeypatch: pytest.MonkeyPatch) -> None:
        answers = {"y\n": True, "YES\n": True, "n\n": False, "\n": False, "": False, "yep\n": False}
        for answer, means in answers.items():
            monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
            assert Console().confirm("?") is means

    def test_unprintable_characters_and_secrets_are_replaced(self) -> None:
        assert printable("a\nb\x1b[1m\x00\ud800\U000e0001ü") == r"a b\u001b[1m\u0000\ud800\udb40\udc01ü"
        assert masked("https://x/?sv=1&sig=canary%3D&sp=r 'AccountKey=canary==;x'") == (
            "https://x/?*** 'AccountKey=***;x'"
        )
        link = "run 7 (https://x/_build/results?buildId=7), see https://x/_build?definitionId=4"
        assert masked(link) == link
        assert masked("https://x/y?buildId=7)&key=k https://x?buildId=7&key=k") == "https://x/y?*** https://x?***"
        assert masked("no answer from https://user:p/w@host/x: 'a@b'") == "no answer from https://***@host/x: 'a@b'"

    def test_an_error_with_several_lines(self, capfd: pytest.CaptureFixture[str]) -> None:
        Console().error("one\n   two sig=canary")
        Console().error("")
        assert capfd.readouterr().err == "manage.py: one\n  two sig=***\nmanage.py: \n"


def test_a_warning_cannot_control_the_operators_terminal(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Warnings quote what servers answer and what the journal contains."""

    def select(*_: object) -> Iterator[Record]:
        logging.getLogger("nextstage.queueing").warning("it said: %s", "\x1b[2Jall fine\r\x9b1m\u202e, sig=abc")
        logging.getLogger("azure").warning("a library")
        yield from ()

    desk.deliver()
    monkeypatch.setattr(Journal, "select", select)
    lines = desk.run("journal").err.splitlines()  # the command selects records, orphans and lost notifications
    assert lines == [r"manage.py: it said: \u001b[2Jall fine \u009b1m\u202e, sig=***"] * 3


class TestLocalSettings:
    def write(self, folder: Path, content: object) -> None:
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / "local.settings.json").write_text(text, encoding="utf-8-sig")

    def test_the_environment_overrides_them(self, tmp_path: Path) -> None:
        assert with_local_settings({"A": "1"}, tmp_path) == {"A": "1"}
        self.write(tmp_path, {"Values": {"A": "2", "B": "3"}, "Host": {}})
        assert with_local_settings({"A": "1"}, tmp_path) == {"A": "1", "B": "3"}
        self.write(tmp_path, {})
        assert with_local_settings({"A": "1"}, tmp_path) == {"A": "1"}

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ('{"Values": {"A": "canary"', "is not JSON: Expecting"),
            ("[" * 100_000, "is nested too deeply"),
            ([], "must contain"),
            ({"Values": ["canary"]}, "must contain"),
            ({"Values": {"A": 1}}, "must contain"),
            ({"IsEncrypted": True, "Values": {}}, "is encrypted; run 'func settings decrypt'"),
            (None, r"cannot be read \(IsADirectoryError\)"),
        ],
    )
    def test_an_error_quotes_nothing_from_the_file(self, tmp_path: Path, content: object, message: str) -> None:
        if content is None:
            (tmp_path / "local.settings.json").mkdir()
        else:
            self.write(tmp_path, content)
        with pytest.raises(CommandFailed, match=message) as caught:
            with_local_settings({}, tmp_path)
        assert "canary" not in str(caught.value)
        assert str(tmp_path / "local.settings.json") in str(caught.value)

    def test_the_commands_read_them(self, desk: Desk, capfd: pytest.CaptureFixture[str]) -> None:
        desk.deliver()
        self.write(desk.folder, {"Values": desk.environment})
        assert main(["journal", "--json"], app_dir=desk.folder, environ={}) == 0
        assert [record["state"] for record in json.loads(capfd.readouterr().out)] == ["released"]


def test_the_journal_is_named_without_its_secret(tmp_path: Path) -> None:
    for connection, name in (
        ("sqlite:j.sqlite3", str(tmp_path / "j.sqlite3")),
        ("https://account.table.core.windows.net", "https://account.table.core.windows.net"),
        ("AccountName=a;AccountKey=Y2FuYXJ5", "in Azure Tables"),
    ):
        assert Installation(tmp_path, {"JOURNAL_CONNECTION": connection}).journal_name == name


class TestProgram:
    def test_help_lists_the_commands_and_the_exit_codes(self, desk: Desk) -> None:
        result = desk.process()
        assert (result.code, result.out) == (0, desk.process("--help").out)
        for words in (*COMMANDS, "Exit codes of all commands:", "local.settings.json"):
            assert words in result.out
        assert result.out.isascii()

    def test_the_commands_are_listed_in_the_order_of_use(self, desk: Desk) -> None:
        listed = re.findall(r"^  ([a-z][a-z-]*) +[A-Z].*\.$", desk.run("--help").out, re.MULTILINE)
        named = [name for names in GROUPS.values() for name in names]
        assert listed == [name for name in named if name in COMMANDS]
        assert sorted(listed) == COMMANDS, "name a new command in tools/commands/__init__.py"

    def test_a_wrong_command_is_corrected(self, desk: Desk) -> None:
        desk.fails(2, "No such command 'journals'. Did you mean 'journal'?", "journals")

    def test_the_version_names_the_commit(self, desk: Desk) -> None:
        assert desk.run("--version") == Result(0, f"{VERSION}\n", "")
        git = ["git", "-C", str(desk.folder), "-c", "user.name=n", "-c", "user.email=e", "-c", "commit.gpgsign=false"]
        for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "subject"]):
            subprocess.run([*git, *arguments], check=True, timeout=60)
        commit = subprocess.check_output([*git, "rev-parse", "HEAD"], text=True, timeout=60).strip()
        shown = re.fullmatch(rf"{re.escape(VERSION)} \(commit ([0-9a-f]{{7,}})\)\n", desk.run("--version").out)
        assert shown is not None
        assert commit.startswith(shown[1])
        desk.routes(UNSOLVABLE)
        assert desk.run("--version").out == f"{VERSION} (commit {shown[1]}-dirty)\n"

    @pytest.mark.parametrize("command", [*COMMANDS, "journal list", "journal show"])
    def test_every_command_has_help_even_without_a_configuration(self, desk: Desk, command: str) -> None:
        (desk.folder / "local.settings.json").write_text("broken")
        result = desk.run(*command.split(), "--help")
        assert (result.code, result.err) == (0, "")
        assert f"Usage: manage.py {command}" in result.out
        assert result.out.isascii()

    def test_a_closed_pipe(self, desk: Desk) -> None:
        desk.deliver()
        reader, writer = os.pipe()
        process = desk.start("journal", "--json", stdout=writer)
        os.close(reader)
        os.close(writer)
        assert (process.communicate(timeout=60)[1], process.returncode in {0, 1}) == ("", True)

    def test_an_ascii_terminal(self, desk: Desk) -> None:
        desk.deliver("{nönsense")
        desk.settings = {"PYTHONIOENCODING": "ascii"}
        result = desk.process("journal", "show", desk.records[0].key.key)
        assert (result.code, "{n\\xf6nsense" in result.out) == (0, True)

    @pytest.mark.parametrize("command", ["--help", "check", "explain event.json", "journal"])
    def test_slow_libraries_are_imported_only_if_needed(self, desk: Desk, command: str) -> None:
        desk.deliver()
        desk.file(run_completed())
        desk.settings = {"PYTHONPROFILEIMPORTTIME": "1"}
        result = desk.process(*command.split())
        imported = set(re.findall(r"^import time:.*\|\s*(\S+)$", result.err, re.MULTILINE))
        assert (result.code, "typer" in imported) == (0, True)
        slow = {"azure", "cryptography", "pydantic", "requests", "urllib3", "xml.etree"}
        assert slow & imported == set()
        if command == "--help":
            assert {"handlers", "jmespath", "shared.composition", "yaml"} & imported == set()
