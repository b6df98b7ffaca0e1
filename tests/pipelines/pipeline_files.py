"""A reader for the parts of Azure Pipelines YAML that the tests check: files, templates, steps and scripts."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from tests.support import ROOT

FOLDER = ROOT / "pipelines"
FILES = sorted([*FOLDER.rglob("*.yml"), *(ROOT / ".azdo").rglob("*.yml")])

# Keys whose value is a script: steps, and inputs of the tasks AzureCLI, Bash and PowerShell.
SCRIPT_KEYS = {"bash", "script", "pwsh", "powershell", "inlineScript"}


class StrictLoader(yaml.SafeLoader):
    """A loader that refuses duplicate keys in a mapping."""


def _mapping(loader: StrictLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [str(loader.construct_object(key)) for key, _ in node.value]
    duplicates = {key for key in keys if keys.count(key) > 1}
    if duplicates:
        raise yaml.constructor.ConstructorError(None, None, f"duplicate keys: {', '.join(duplicates)}", node.start_mark)
    return loader.construct_mapping(node, deep=True)


StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def load(file: Path) -> dict[str, Any]:
    """Load a pipeline file, which must be a mapping."""
    document = yaml.load(file.read_text(encoding="utf-8"), Loader=StrictLoader)  # noqa: S506 - a SafeLoader
    assert isinstance(document, dict), f"{file} is not a pipeline"
    return document


def walk(document: object) -> Iterator[object]:
    """Yield a document and all values in it."""
    yield document
    if isinstance(document, dict | list):
        for value in document.values() if isinstance(document, dict) else document:
            yield from walk(value)


def nodes(document: object) -> Iterator[dict[str, Any]]:
    """Yield every mapping in a document."""
    return (value for value in walk(document) if isinstance(value, dict))


def texts(document: object) -> Iterator[str]:
    """Yield every string in a document."""
    return (value for value in walk(document) if isinstance(value, str))


@dataclass(frozen=True)
class Pipeline:
    """A pipeline or template file."""

    file: Path

    @cached_property
    def document(self) -> dict[str, Any]:
        return load(self.file)

    @property
    def parameters(self) -> dict[str, Mapping[str, Any]]:
        """Declared parameters by name."""
        return {each["name"]: each for each in self.document.get("parameters", [])}

    @property
    def variables(self) -> dict[str, str]:
        """Variables of this file, without those of workspace.yml, which their values may use."""
        shared = load(FOLDER / "templates" / "workspace.yml")["variables"]

        def value(text: str) -> str:
            return re.sub(r"\$\{\{ variables\.(\w+) \}\}", lambda found: str(shared[found[1]]), text)

        return {each["name"]: value(each["value"]) for each in self.document.get("variables", []) if "name" in each}

    @property
    def stages(self) -> list[str]:
        return [each["stage"] for each in self.document["stages"]]

    @property
    def calls(self) -> Iterator[tuple[Path, Mapping[str, Any]]]:
        """The templates that the file uses, each with the parameters that it passes."""
        for node in nodes(self.document):
            if "template" in node:
                yield self.file.parent / node["template"], node.get("parameters", {})

    @property
    def scripts(self) -> Iterator[str]:
        """The inline scripts."""
        for node in nodes(self.document):
            yield from (str(value) for key, value in node.items() if key in SCRIPT_KEYS)

    @property
    def script_files(self) -> Iterator[Path]:
        """The script files that tasks and inline scripts run."""
        for script in self.scripts:
            yield from (FOLDER / "scripts" / name for name in re.findall(r"\bpipelines/scripts/(\w+\.sh)", script))
        folder = r"(?:\$\(System\.DefaultWorkingDirectory\)/pipelines/scripts|\$\{\{ parameters\.scriptFolder \}\})"
        for node in nodes(self.document):
            for key in ("scriptPath", "filePath"):
                if key in node:
                    found = re.fullmatch(rf"{folder}/(\w+\.sh)", node[key])
                    assert found is not None, f"{self.file}: {node[key]}"
                    yield FOLDER / "scripts" / found[1]
