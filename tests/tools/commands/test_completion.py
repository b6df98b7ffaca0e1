"""Shell completion: the values that a shell is offered, and Typer's scripts in the installed shells."""

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
from tools.events.samples import SAMPLE_NAMES
from tools.help_pages import COMPLETION_VARIABLE

Offered = Callable[[str], list[str]]


@pytest.fixture
def offered(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Offered:
    """The completions of the last word, requested as the bash script does."""

    def ask(line: str) -> list[str]:
        words = ["manage.py", *line.split(" ")]
        monkeypatch.setenv("COMP_WORDS", "\n".join(words))
        monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
        monkeypatch.setenv(COMPLETION_VARIABLE, "complete_bash")
        with pytest.raises(SystemExit) as caught:
            main([], desk.folder, desk.environment)
        output = desk.capfd.readouterr()
        assert (caught.value.code, output.err) == (0, "")
        return output.out.split()

    return ask


def test_commands_options_and_values(desk: Desk, offered: Offered) -> None:
    desk.routes(RIGHT, TRIAGE)
    assert {"completion", "doctor", "journal", "preview", "redrive", "send"} <= set(offered(""))
    for line, answers in {
        "jou": ["journal"],
        "journal ": ["list", "show"],
        "send --sc": ["--schema"],
        "journal --route ": ["evaluate", "triage"],
        "redrive --route e": ["evaluate"],
        "journal --state pa": ["parked"],
        "send Model": ["ModelRegistered", "ModelDeployed"],
        "send ": list(SAMPLE_NAMES),
        "completion ": ["bash", "zsh", "fish"],
    }.items():
        assert offered(line) == answers, line


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("version: 1\nroutes:\n  - name: evaluate\n    event: Nope\n  - name: $(rm x)\n  - name: 7\n", ["evaluate"]),
        ("routes: [{name: evaluate, organization_url: '${NOT_SET}'}]", ["evaluate"]),
        *((text, []) for text in ("routes: [", "routes: 7", "- a", "")),
    ],
)
def test_route_names_of_a_table_with_mistakes(desk: Desk, offered: Offered, text: str, names: list[str]) -> None:
    (desk.folder / "routes.yaml").write_text(text)
    assert offered("journal --route ") == names


# Each command loads Typer's script $1 and prints the completions after $2, as far as possible without a terminal.
SHELLS = {
    "bash": 'source $1; COMP_WORDS=($2 ""); COMP_CWORD=3; _managepy_completion $2; echo ${COMPREPLY[@]}',
    "zsh": 'compdef() :; _arguments() echo $@; source $1; words=(${=2} ""); CURRENT=4; _managepy_completion',
    "fish": 'source $argv[2]; complete -C "$argv[3] "',
}


@pytest.mark.parametrize("shell", SHELLS)
def test_in_a_shell(desk: Desk, shell: str) -> None:
    """The script calls the program as the user typed it, with the Python of the environment."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    script = desk.folder / f"completion.{shell}"
    script.write_text(desk.run("completion", shell).out)
    manage = os.path.relpath(ROOT / "manage.py", desk.folder)
    command = [shell, "-c", SHELLS[shell], shell, str(script), f"{manage} journal --route"]
    paths = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(desk.folder)}
    variables = {**os.environ, **desk.environment, **paths}
    output = subprocess.check_output(command, env=variables, cwd=desk.folder, text=True, timeout=60)
    assert "evaluate" in output.replace('"', " ").split()
