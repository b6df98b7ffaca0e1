"""Shell completion: the protocol as a process, and the scripts in the shells that are installed."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import ROOT
from tests.tools.conftest import RIGHT, TRIAGE, Desk
from tools.cli import main
from tools.commands.completion import VARIABLE
from tools.events.samples import SAMPLE_NAMES

MANAGE = str(ROOT / "manage.py")
COMMANDS = {"completion", "doctor", "journal", "preview", "redrive", "send"}


Offered = Callable[..., list[str]]


@pytest.fixture
def offered(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Offered:
    """What bash is told that may stand in place of the last word; asked as bash's script asks."""

    def ask(*words: str) -> list[str]:
        monkeypatch.setenv("COMP_WORDS", "\n".join(words))
        monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
        monkeypatch.setenv(VARIABLE, "complete_bash")
        with pytest.raises(SystemExit) as ended:
            main([], desk.folder, desk.environment)
        output = desk.capfd.readouterr()
        assert (ended.value.code, output.err) == (0, "")
        return output.out.split()

    return ask


class TestProtocol:
    def test_commands(self, offered: Offered) -> None:
        assert set(offered("manage.py", "")) >= COMMANDS
        assert offered("manage.py", "jou") == ["journal"]
        assert offered("manage.py", "journal", "") == ["list", "show"]

    def test_options(self, offered: Offered) -> None:
        assert offered("manage.py", "send", "--sc") == ["--schema"]

    @pytest.mark.parametrize("command", ["journal", "redrive"])
    def test_route_names(self, desk: Desk, offered: Offered, command: str) -> None:
        desk.routes(RIGHT, TRIAGE)
        assert offered("manage.py", command, "--route", "") == ["evaluate", "triage"]
        assert offered("manage.py", command, "--route", "e") == ["evaluate"]

    @pytest.mark.parametrize(
        "text",
        [
            "version: 1\nroutes:\n  - name: evaluate\n    event: Nope\n  - name: $(rm x)\n  - name: 7\n",
            "routes: [{name: evaluate, organization_url: '${NOT_SET}'}]",
        ],
    )
    def test_route_names_of_a_table_with_mistakes(self, desk: Desk, offered: Offered, text: str) -> None:
        (desk.folder / "routes.yaml").write_text(text)
        assert offered("manage.py", "journal", "--route", "") == ["evaluate"]

    @pytest.mark.parametrize("text", ["routes: [", "routes: 7", "- a", ""])
    def test_no_table_at_all(self, desk: Desk, offered: Offered, text: str) -> None:
        (desk.folder / "routes.yaml").write_text(text)
        assert offered("manage.py", "journal", "--route", "") == []

    def test_states_types_and_shells(self, offered: Offered) -> None:
        assert offered("manage.py", "journal", "--state", "pa") == ["parked"]
        assert offered("manage.py", "send", "Model") == ["ModelRegistered", "ModelDeployed"]
        assert set(offered("manage.py", "send", "")) == set(SAMPLE_NAMES)
        assert offered("manage.py", "completion", "") == ["bash", "zsh", "fish"]


class TestScripts:
    @pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
    def test_each_is_printed_as_it_is(self, desk: Desk, shell: str) -> None:
        ended = desk.process("completion", shell)
        assert (ended.code, ended.err) == (0, "")
        assert ended.out == (ROOT / "tools" / "completion" / f"manage.{shell}").read_text()

    def test_another_shell(self, desk: Desk) -> None:
        ended = desk.run("completion", "tcsh")
        assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)

    @pytest.mark.parametrize(
        ("words", "answers"),
        [
            ([sys.executable, MANAGE, "jou"], ["journal"]),
            ([sys.executable, MANAGE, "journal", "--route", ""], ["evaluate"]),
            ([sys.executable, MANAGE, "journal", "--state", "re"], ["released"]),
            ([sys.executable, "other.py", "jou"], []),
            ([sys.executable, "-m"], []),
            ([sys.executable, ""], []),
        ],
    )
    def test_in_bash(self, desk: Desk, words: list[str], answers: list[str]) -> None:
        assert self.bash(desk, words) == answers

    def test_in_bash_with_the_program_alone(self, desk: Desk) -> None:
        bin_dir = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
        assert self.bash(desk, [MANAGE, "send", "Dat"], bin_dir) == ["DatasetDriftDetected"]

    def bash(self, desk: Desk, words: list[str], environment: dict[str, str] | None = None) -> list[str]:
        """What bash would offer for the last word: its completion function is called as bash calls it."""
        script = ROOT / "tools" / "completion" / "manage.bash"
        drive = (
            f'source "{script}"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _nextstage_manage; '
            r'printf "%s\n" "${COMPREPLY[@]}"; complete -p manage.py python python3 >&2'
        )
        ended = self.shell(desk, ["bash", "--norc", "-c", drive, "bash", *words], environment)
        assert ended.stderr.count("-F _nextstage_manage") == 3
        return ended.stdout.split()

    def test_in_fish(self, desk: Desk) -> None:
        script = ROOT / "tools" / "completion" / "manage.fish"
        drive = f"source '{script}'; complete -C '{sys.executable} {MANAGE} journal --route e'"
        ended = self.shell(desk, ["fish", "--no-config", "-c", drive])
        assert ended.stdout.split() == ["evaluate"]

    def test_zsh_can_read_its_script(self, desk: Desk) -> None:
        script = ROOT / "tools" / "completion" / "manage.zsh"
        ended = self.shell(desk, ["zsh", "-f", "-c", f"compdef() {{ print $@; }}; source '{script}'"])
        assert ended.stdout.split() == ["_nextstage_manage", "manage.py", "python", "python3"]

    @staticmethod
    def shell(
        desk: Desk, command: list[str], environment: dict[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        if shutil.which(command[0]) is None:
            pytest.skip(f"{command[0]} is not installed")
        variables = {**os.environ, **desk.environment, **(environment or {})}
        return subprocess.run(
            command, env=variables, cwd=desk.folder, capture_output=True, text=True, check=True, timeout=60
        )
