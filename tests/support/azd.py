"""azd, whose environment the commands and the hooks work in, with a stand-in for Azure Resource Manager.

A stand-in for the executable ``azd`` signs them in. The hooks run as azd runs them: as processes, in the folder of the
script.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from devstack.arm import Behavior, Emulator, sample
from devstack.http_server import serving
from tests.support import ROOT
from tests.support.canaries import leaks, secret
from tests.support.services.odd_host import answering

HOOKS = ROOT / "infra" / "hooks"
ENVIRONMENT = {
    "AZURE_ENV_NAME": "dev",
    "AZURE_LOCATION": sample.LOCATION,
    "AZURE_SUBSCRIPTION_ID": sample.SUBSCRIPTION,
    "AZURE_RESOURCE_GROUP": "rg-dev",
    "AML_WORKSPACE_ID": sample.WORKSPACE,
    "NEXTSTAGE_FUNCTION_APP_ID": sample.APP,
    "NEXTSTAGE_STORAGE_ACCOUNT_ID": sample.STORAGE,
    "NEXTSTAGE_DEAD_LETTER_CONTAINER": sample.CONTAINER,
    "NEXTSTAGE_IDENTITY_PRINCIPAL_ID": sample.IDENTITY,
    "NEXTSTAGE_ACTION_GROUP_ID": "",
    "NEXTSTAGE_HOOK_PAUSE_SECONDS": "0",
}
"""What azd passes to a hook: its own values, and those of main.bicep's outputs. No pause takes time."""

TOKEN = {"token": secret("token"), "expiresOn": "2099-01-01T00:00:00Z"}

TESTING = "testing the app with an event that queues nothing"
"""What connect says before it tests the app."""

PREFIX = "nextstage-dev-0f0f0f0f"
OURS = [PREFIX, f"{PREFIX}-run-status"]


@dataclass(frozen=True)
class Ended:
    """A process that has ended."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.err.splitlines()


@dataclass
class Azd:
    """azd with an environment.

    :param folder: an empty folder, which gets the stand-in for the executable.
    :param app_url: the address of the app, which acknowledges every event.
    """

    folder: Path
    arm: Emulator
    url: str
    app_url: str

    def __post_init__(self) -> None:
        """Sign in."""
        self.answer(TOKEN)

    def answer(self, document: Mapping[str, str], code: int = 0, values: Mapping[str, str] | None = None) -> None:
        """Choose the answers of ``azd auth token`` and ``azd env get-values``. By default, it knows no environment.

        It finds the environment in the folder in which it runs, as azd does.
        """
        executable = self.folder / "azd"
        (self.folder / "values.json").write_text(json.dumps(values) + "\n")
        known = 'read -r values < values.json && echo "$values"' if values else "exit 1"
        token = f"echo '{json.dumps(document)}'; exit {code}"
        executable.write_text(f'#!/bin/sh\nif [ "$1" = env ]; then {known}; else {token}; fi\n')
        executable.chmod(0o755)

    def switch(self, **switches: Any) -> None:
        """Change switches of the behavior."""
        self.arm.behavior = replace(self.arm.behavior, **switches)

    def environment(self, **changes: str | None) -> dict[str, str]:
        """Return azd's environment with some changes. None leaves a variable out."""
        own = {
            "PATH": str(self.folder),
            "AZURE_RESOURCE_MANAGER_URL": self.url,
            "NEXTSTAGE_URL": self.app_url,
            "JOURNAL_CONNECTION": f"sqlite:{self.folder / 'journal.sqlite3'}",  # there is none
        }
        values = {**ENVIRONMENT, **own, **changes}
        return {name: value for name, value in values.items() if value is not None}

    def hook(self, name: str, **changes: str | None) -> Ended:
        """Run a hook to its end."""
        return self.end(self.start([HOOKS / f"{name}.py"], HOOKS, **changes))

    def start(self, command: list[Any], folder: Path, **changes: str | None) -> "subprocess.Popen[str]":
        """Start Python in azd's environment."""
        kept = {name: value for name, value in os.environ.items() if name.startswith(("COVERAGE", "PYTHON"))}
        return subprocess.Popen(
            [sys.executable, *map(str, command)],
            cwd=folder,
            env={**kept, "HOME": str(self.folder), **self.environment(**changes)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def end(self, process: "subprocess.Popen[str]") -> Ended:
        """Wait until a process has ended."""
        with process:
            try:
                out, err = process.communicate(timeout=60)
            finally:
                process.kill()
        assert leaks(out + err) == []
        assert "Traceback" not in err, err
        return Ended(process.returncode, out, err)

    @property
    def written(self) -> list[str]:
        """The requests so far that write or delete a resource, by method and name."""
        return [
            f"{one.method} {one.path.rpartition('/')[2]}" for one in self.arm.changes if one.method in {"PUT", "DELETE"}
        ]

    def found(self, kind: str) -> list[dict[str, Any]]:
        """Return the resources of a type, in the order of their creation."""
        return [one for one in self.arm.resources if one["type"].rpartition("/")[2] == kind]

    def names(self, kind: str) -> list[str]:
        """Return the names of the resources of a type."""
        return [one["name"] for one in self.found(kind)]


@contextmanager
def serving_azd(folder: Path) -> Iterator[Azd]:
    """Serve an environment that ``azd provision`` has made, and a workspace."""
    arm = Emulator(sample.resources(), tokens=[secret("token")])
    arm.behavior = Behavior(retry_after_seconds=0.01)
    with serving(arm) as server, answering((202, {}, "")) as app:
        yield Azd(folder, arm, server.url, app.url)
