"""``python -m devstack.bicep``: checks ``infra/`` with Microsoft's Bicep compiler.

It lints and builds the files, compares each with what the formatter makes of it, and compares the resources of each
profile with ``infra/snapshots/<profile>.txt``. With ``--write``, it writes formatted files and lists instead. It signs
in nowhere and deploys nothing. Exit codes: 0 nothing found, 1 something found or no compiler.

The compiler is the one that azd would use (``AZD_BICEP_TOOL_PATH``, or the copy that azd has downloaded), or else
``bicep`` on the PATH. It needs version 0.41 or later. Sources: the repository Azure/bicep for its commands, their
output and the snapshots; Azure/azure-dev, ``cli/azd/pkg/tools/bicep``, for azd's copy.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from difflib import unified_diff
from pathlib import Path
from typing import Final

REQUIRED: Final = {
    "environmentName": "nextstage",
    "location": "westeurope",
    "azureDevOpsOrgUrl": "https://dev.azure.com/contoso",
    "azureDevOpsProject": "mlops",
    "amlWorkspaceId": (
        "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-ml/providers"
        "/Microsoft.MachineLearningServices/workspaces/ml"
    ),
}
"""A value for each parameter of ``main.bicep`` that has no default."""

_PROFILES: Final = re.compile(r"@allowed\(\[([^\]]*)\]\)\nparam profile ")

_PATTERN: Final = "**/*.bicep"
_DIAGNOSTIC: Final = re.compile(r"(?m)^.*\(\d+,\d+\) : (?:Info|Warning|Error) .*$")
_INFO: Final = " : Info "
_CONTEXT: Final = ("--subscription-id", "00000000-0000-0000-0000-000000000000", "--location", REQUIRED["location"])


class CompilerMissing(Exception):
    """There is no compiler. The message says where it was searched for, and how to get one."""


class CompilerFailed(Exception):
    """A command has written nothing, or not all. Each argument is a line of what it said."""


def main(arguments: Sequence[str]) -> int:
    """Check or write the files below the current folder, and return the exit code."""
    try:
        compiler = find_compiler()
    except CompilerMissing as exc:
        print(exc, file=sys.stderr)
        return 1
    print(f"checking infra/ with {compiler}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        copy = Copy(compiler, Path("infra"), Path(folder).resolve() / "infra")
        lines = [*dict.fromkeys(copy.findings()), *copy.differences(write="--write" in arguments)]
    print(*lines, sep="\n")
    if any(_INFO not in line for line in lines):
        return 1
    print("no warnings, no errors, no differences")
    return 0


def find_compiler(environment: Mapping[str, str] = os.environ) -> str:
    """Return the path of the compiler that azd uses, or else of the one on the PATH.

    :raises CompilerMissing: there is none.
    """
    if override := environment.get("AZD_BICEP_TOOL_PATH"):
        if not Path(override).is_file():
            raise CompilerMissing(f"AZD_BICEP_TOOL_PATH is '{override}', but there is no such file")
        return str(Path(override).resolve())
    folder = Path(environment.get("AZD_CONFIG_DIR") or Path.home() / ".azd")
    copy = folder / "bin" / ("bicep.exe" if os.name == "nt" else "bicep")
    found = str(copy) if copy.is_file() else shutil.which("bicep", path=environment.get("PATH"))
    if found is None:
        raise CompilerMissing(
            f"no Bicep compiler: AZD_BICEP_TOOL_PATH is not set, {copy} does not exist, and 'bicep' is not in PATH.\n"
            "To get one, run 'azd provision --preview', which downloads it, or see https://aka.ms/bicep-install"
        )
    return found


def profiles(template: str) -> list[str]:
    """Return the values that the parameter ``profile`` of a template may have."""
    found = _PROFILES.search(template)
    return re.findall(r"'(\w+)'", found[1]) if found else []


class Copy:
    """A copy of ``infra/``, in which the compiler may write."""

    def __init__(self, compiler: str, infra: Path, copy: Path) -> None:
        """Copy the folder.

        :param copy: where to; an absolute path without symbolic links, as the compiler prints it.
        """
        self._compiler = compiler
        self._infra = infra
        # azd makes the environment of its hooks in infra/hooks.
        self._copy = Path(shutil.copytree(infra, copy, ignore=shutil.ignore_patterns(".venv*", "__pycache__")))

    def findings(self) -> Iterator[str]:
        """Yield what the linter and the compiler report; about a module, they report it for each file that uses it."""
        yield from self._run("lint", "--pattern", _PATTERN)
        for path in sorted(self._copy.rglob("main.bicep")):
            yield from self._run("build", path.relative_to(self._copy).as_posix(), "--stdout")

    def differences(self, *, write: bool) -> Iterator[str]:
        """Yield the lines that the formatter and the resources of each profile would change.

        :param write: make these changes instead.
        """
        yield from self._run("format", "--pattern", _PATTERN)
        wanted = {path.relative_to(self._copy): path.read_text("utf-8") for path in sorted(self._copy.rglob("*.bicep"))}
        for profile in profiles((self._copy / "main.bicep").read_text("utf-8")):
            try:
                wanted[Path("snapshots") / f"{profile}.txt"] = self._resources(profile)
            except CompilerFailed as exc:
                yield from exc.args
        for path, after in wanted.items():
            original = self._infra / path
            before = original.read_text("utf-8") if original.is_file() else ""
            if before != after and write:
                original.parent.mkdir(exist_ok=True)
                original.write_text(after, "utf-8")
            elif before != after:
                names = (f"{original.as_posix()} (now)", f"{original.as_posix()} (make bicep BICEP=--write)")
                yield from unified_diff(before.splitlines(), after.splitlines(), *names, lineterm="", n=1)

    def _resources(self, profile: str) -> str:
        """Return the types of the resources that a profile deploys, each with its number, one a line."""
        values = {**REQUIRED, "profile": profile}
        lines = ("using 'main.bicep'", *(f"param {name} = '{value}'" for name, value in values.items()))
        parameters = self._copy / f"{profile}.bicepparam"
        parameters.write_text("\n".join(lines) + "\n", "utf-8")
        found = self._run("snapshot", parameters.name, "--mode", "overwrite", *_CONTEXT)
        snapshot = parameters.with_suffix(".snapshot.json")
        if not snapshot.exists():
            raise CompilerFailed(*found or [f"bicep has written no snapshot of the profile {profile}"])
        document = json.loads(snapshot.read_text("utf-8-sig"))
        if said := [one for one in document["diagnostics"] if " Info " not in one]:
            # Resources are missing: those of modules with names that only a deployment knows.
            raise CompilerFailed(*(f"the resources of the profile {profile}: {one}" for one in said))
        counted = Counter(resource["type"] for resource in document["predictedResources"])
        return "".join(f"{kind} {number}\n" for kind, number in sorted(counted.items()))

    def _run(self, *arguments: str) -> list[str]:
        """Run the compiler and return what it says on standard error. Standard output has the templates."""
        done = subprocess.run(  # noqa: S603 - the compiler that the user has installed
            [self._compiler, *arguments],
            cwd=self._copy,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
        output = re.sub(rf"(?:file://)?{re.escape(self._copy.as_posix())}/", "infra/", done.stderr)
        found = _DIAGNOSTIC.findall(output)
        if done.returncode != 0 and all(_INFO in line for line in found):
            found += [f"'bicep {' '.join(arguments)}' failed with exit code {done.returncode}: {output.strip()}"]
        return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
