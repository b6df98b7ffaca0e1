"""docs/first-route.md leads to a run: its commands are run in order, in a copy of the project, as they stand there."""

import os
import pty
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
import requests

from tests.support import ROOT
from tests.support.polling import wait_until

PAGE = (ROOT / "docs" / "first-route.md").read_text(encoding="utf-8")
READY = re.compile(r"^devstack\.\w+: http", re.MULTILINE)
WRITTEN_ENTRY = re.compile(r"^  - name: score-model-on-model-registered\n(?:    .*\n)*", re.MULTILINE)
COPIED = ("devstack", "handlers", "pipelines", "shared", "tools", "requirements")


class Block(NamedTuple):
    """A code block of the page."""

    kind: str
    text: str


def blocks() -> list[Block]:
    return [Block(kind, text) for kind, text in re.findall(r"^```([^\n]*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)]


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return str(server.getsockname()[1])


class Clone:
    """A copy of the project with a virtual environment that is up to date."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in COPIED:
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
        for path in ROOT.iterdir():
            if path.is_file() and path.name not in {"local.settings.json", ".git"} and path.suffix != ".sqlite3":
                shutil.copy(path, folder)
        self._forget_the_route()
        (folder / ".venv").mkdir()
        for path in Path(sys.prefix).iterdir():
            if not path.name.startswith("."):
                (folder / ".venv" / path.name).symlink_to(path)
        (folder / ".venv" / ".ready").touch()
        ports = {"PORT": free_port(), "ADO_PORT": free_port()}
        self.environment = {
            **os.environ,
            **ports,
            "PATH": os.pathsep.join([str(folder / ".venv" / "bin"), *self._path_without_core_tools()]),
            "NEXTSTAGE_URL": f"http://127.0.0.1:{ports['PORT']}",
            "AZURE_DEVOPS_ORG_URL": f"http://127.0.0.1:{ports['ADO_PORT']}/contoso",
        }

    def _forget_the_route(self) -> None:
        """Remove what the page writes, in case somebody has followed it in this repository."""
        (self.folder / "pipelines/score-model.yml").unlink(missing_ok=True)
        for name in ("routes.yaml", "routes.test.yaml"):
            file = self.folder / name
            file.write_text(WRITTEN_ENTRY.sub("", file.read_text(encoding="utf-8")), encoding="utf-8")

    @staticmethod
    def _path_without_core_tools() -> list[str]:
        return [each for each in os.environ["PATH"].split(os.pathsep) if not (Path(each) / "func").exists()]

    def run(self, command: str) -> str:
        """Run a command, and return its output. It must succeed."""
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout

    def answer(self, command: str, answers: str) -> None:
        """Run a command on a terminal, and give the answers."""
        leader, follower = pty.openpty()
        process = subprocess.Popen(
            ["/bin/sh", "-c", f"exec {command}"], cwd=self.folder, env=self.environment, stdin=follower
        )
        os.close(follower)
        os.write(leader, answers.encode())
        try:
            assert process.wait(60) == 0
        finally:
            process.kill()
            process.wait()
            os.close(leader)

    @contextmanager
    def terminal(self, command: str, log: Path) -> Iterator[None]:
        """Run a command in the background until the block ends. Return when it has printed its URL."""
        with log.open("w") as output:
            process = subprocess.Popen(
                ["/bin/sh", "-c", command],
                cwd=self.folder,
                env=self.environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            wait_until(lambda: process.poll() is not None or READY.search(log.read_text()))
            assert process.poll() is None, log.read_text()
            yield
        finally:
            os.killpg(process.pid, signal.SIGINT)
            process.wait(60)


def test_every_command_of_the_page_works_as_it_stands(tmp_path: Path) -> None:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    (tmp_path / "clone").mkdir()
    clone = Clone(tmp_path / "clone")
    shown, page = dict[str, list[str]](), blocks()
    with ExitStack() as terminals:
        for index, block in enumerate(page):
            following = page[index + 1] if index + 1 < len(page) else Block("", "")
            if block.kind == "sh terminal":
                terminals.enter_context(clone.terminal(block.text, tmp_path / f"{index}.log"))
            elif block.kind == "sh" and following.kind == "text answers":
                clone.answer(block.text, following.text)
            elif block.kind == "sh":
                for command in block.text.splitlines():
                    shown.setdefault(command, []).append(clone.run(command))
        sent = [outputs for command, outputs in shown.items() if " send " in command]
        [[first], [second, again]] = sent
        assert re.search(r"score-model-on-model-registered +queued", first)
        assert re.search(r"score-model-on-model-registered +queued", second)
        assert re.search(r"score-model-on-model-registered +duplicate", again)
        run_page = requests.get(re.findall(r"http://\S+", first)[0], timeout=10)
        assert run_page.headers["Content-Type"].startswith("text/html")
        assert "<th>modelName</th><td>sample-model</td>" in run_page.text
    *_, tested, summary = shown["./manage.py test"][0].splitlines()
    assert tested == "ok      score-model-on-model-registered"
    assert re.fullmatch(r"routes\.test\.yaml: \d+ cases, 0 failed", summary)
    assert "nothing is wrong" in shown["./manage.py check"][0]
    assert "model_tags.stage == 'gold'" in shown["./manage.py explain devstack/events/model-registered.json"][0]
    assert "score-model-on-model-registered" in shown["./manage.py journal"][0]


def test_the_page_has_only_blocks_that_are_run() -> None:
    assert {block.kind for block in blocks()} == {"sh", "sh terminal", "text answers"}
