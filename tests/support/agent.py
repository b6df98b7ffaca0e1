"""A build agent that runs the project's scripts with a stand-in for ``az`` on the PATH.

The stand-in answers each command from a plan, and records its arguments and its environment.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support import ROOT
from tests.support.polling import wait_until

SCRIPTS = ROOT / "pipelines" / "scripts"

# The programs that the scripts of the pipelines may use in addition to az. Others are not on the PATH.
TOOLS = ("bash", "env", "mktemp", "rm", "sleep", "timeout")

WAIT_SECONDS = 60

JOB = "nextstage_job_x000000000"
"""Replaces the name that a script chooses for an Azure ML job."""

_CHOSEN_NAME = re.compile(r"\bnextstage_job_x0[0-9a-f]{8}\b")

# About once in 600 runs that are interrupted by a signal, bash 5.2 does not find a child that it has just started, and
# says so. The script continues as it should.
_LOST_BY_BASH = re.compile(r"^.*: line \d+: wait_for: No record of process \d+\n", re.MULTILINE)


@contextmanager
def _default_interrupts() -> Iterator[None]:
    """Reset the handling of SIGINT. A background process ignores it, and its children would inherit that."""
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


_AZ = """#!{python} -IS
import json, os, sys, time
folder = {folder!r}
with open(folder + "/plan.json") as file:
    plan = json.load(file)
arguments = sys.argv[1:]
def kept(name):
    return name.startswith(("AML_", "AZUREML_", "PARAMETER_", "AZURE_"))
with open(folder + "/calls.jsonl", "a+") as file:
    file.seek(0)
    before = [json.loads(line)["arguments"] for line in file]
    environment = {{name: value for name, value in os.environ.items() if kept(name)}}
    file.write(json.dumps({{"arguments": arguments, "environment": environment, "pid": os.getpid()}}) + "\\n")
line = " ".join(arguments)
for command, answers in plan.items():
    if all(part in line for part in command.split("*")):
        count = sum(all(part in " ".join(call) for part in command.split("*")) for call in before)
        answer = answers[min(count, len(answers) - 1)]
        time.sleep(answer.get("seconds", 0))
        deadline = time.monotonic() + {wait}
        while "until" in answer and not os.path.exists(folder + "/" + answer["until"]) and time.monotonic() < deadline:
            time.sleep(0.01)
        sys.stdout.write(answer.get("out", ""))
        named = arguments[arguments.index("--name") + 1] if "--name" in arguments else ""
        sys.stderr.write(answer.get("err", "").replace("<name>", named))
        sys.exit(answer.get("code", 0))
sys.exit("the stand-in has no answer to: az " + line)
"""

Answer = str | dict[str, Any]
"""The output of ``az``, or a dictionary: ``out``, ``err``, ``code``, ``seconds`` to take, ``until`` a file exists.

``<name>`` in ``err`` is replaced by the name that was given to ``az``.
"""


@dataclass(frozen=True)
class Call:
    """A call of ``az``."""

    arguments: list[str]
    environment: dict[str, str]
    pid: int

    @property
    def is_running(self) -> bool:
        """Whether the call is still running after a generous wait for its end."""
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            try:
                os.kill(self.pid, 0)
            except ProcessLookupError:
                return False
            time.sleep(0.01)
        return True

    @property
    def command(self) -> str:
        """The words before the first option."""
        options = [index for index, argument in enumerate(self.arguments) if argument.startswith("-")]
        return " ".join(self.arguments[: options[0] if options else None])

    def values(self, option: str) -> list[str]:
        """Return the arguments between an option and the next one."""
        rest = self.arguments[self.arguments.index(option) + 1 :]
        ends = [index for index, argument in enumerate(rest) if argument.startswith("--")]
        return rest[: ends[0] if ends else None]


@dataclass
class Agent:
    """The folder of a build agent.

    :param plan: answers by command. ``*`` in a command matches anything. The last answer is repeated.
    """

    folder: Path
    plan: dict[str, list[Answer]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Put the tools and the stand-in on the PATH."""
        self.bin.mkdir()
        (self.folder / "home").mkdir()
        for tool in TOOLS:
            self.link(tool, tool)
        az = self.bin / "az"
        az.write_text(_AZ.format(python=sys.executable, folder=str(self.folder), wait=WAIT_SECONDS))
        az.chmod(0o755)

    @property
    def bin(self) -> Path:
        return self.folder / "bin"

    def link(self, name: str, tool: str) -> None:
        """Put a program of this machine on the agent's PATH under a name."""
        found = shutil.which(tool)
        assert found is not None, f"the tests need {tool}"
        (self.bin / name).unlink(missing_ok=True)
        (self.bin / name).symlink_to(found)

    def start(self, script: str | Path, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
        """Start a script, a path or a name in ``pipelines/scripts``, with only these environment variables."""
        return self._start([SCRIPTS / script, *arguments], environment)

    def shell(self, text: str, **environment: str) -> "Ended":
        """Run lines of bash to their end. Like the scripts, bash stops at the first error."""
        return self.end(self._start([self.bin / "bash", "-euo", "pipefail", "-c", text], environment))

    def _start(self, command: Sequence[str | Path], environment: Mapping[str, str]) -> "subprocess.Popen[str]":
        plan = {
            words: [answer if isinstance(answer, dict) else {"out": answer + "\n"} for answer in answers]
            for words, answers in self.plan.items()
        }
        (self.folder / "plan.json").write_text(json.dumps(plan))
        home = str(self.folder / "home")
        with _default_interrupts():
            return subprocess.Popen(
                command,
                cwd=self.folder,
                env={"PATH": str(self.bin), "HOME": home, "TMPDIR": str(self.folder), **environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )

    def run(self, script: str | Path, *arguments: str, **environment: str) -> "Ended":
        """Run a script to its end."""
        return self.end(self.start(script, *arguments, **environment))

    def end(self, process: "subprocess.Popen[str]") -> "Ended":
        """Wait until a script has ended."""
        with process:
            try:
                out, err = process.communicate(timeout=30)
            finally:
                process.kill()
        err = _LOST_BY_BASH.sub("", err)
        assert err == "", err
        assert not list(self.folder.glob("tmp.*")), "a script has not deleted its temporary folder"
        names = set(_CHOSEN_NAME.findall(out + self._calls)) - {JOB}
        assert len(names) <= 1, f"a script has changed the name of its job: {names}"
        return Ended(process.returncode, _CHOSEN_NAME.sub(JOB, out), err)

    @property
    def calls(self) -> list[Call]:
        """The calls of ``az`` so far."""
        return [Call(**json.loads(line)) for line in _CHOSEN_NAME.sub(JOB, self._calls).splitlines()]

    @property
    def _calls(self) -> str:
        file = self.folder / "calls.jsonl"
        return file.read_text() if file.exists() else ""

    def calls_of(self, command: str) -> list[Call]:
        """Return the calls of a command."""
        return [call for call in self.calls if call.command == command]

    def wait_for_calls(self, command: str, count: int = 1) -> None:
        """Wait until ``az`` was called ``count`` times with this command."""
        wait_until(lambda: len(self.calls_of(command)) >= count)


@dataclass(frozen=True)
class Ended:
    """A script that has ended."""

    code: int
    out: str
    err: str

    @property
    def outputs(self) -> dict[str, str]:
        """The output variables at the end."""
        return dict(_logging_commands(self.out, "task.setvariable variable=", ";isOutput=true"))

    @property
    def errors(self) -> list[str]:
        return [text for _, text in _logging_commands(self.out, "task.logissue type=error", "")]

    @property
    def warnings(self) -> list[str]:
        return [text for _, text in _logging_commands(self.out, "task.logissue type=warning", "")]

    @property
    def log(self) -> list[str]:
        """The lines of output that are not logging commands."""
        return [line for line in self.out.splitlines() if "##vso[" not in line]


def _logging_commands(out: str, begin: str, end: str) -> list[tuple[str, str]]:
    """Return the name and the text of each logging command. The agent finds a command anywhere in a line."""
    found = [line.partition("##vso[" + begin)[2] for line in out.splitlines() if "##vso[" + begin in line]
    return [(name, text) for name, _, text in (rest.partition(end + "]") for rest in found)]
