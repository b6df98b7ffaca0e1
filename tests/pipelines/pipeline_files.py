"""Reads Azure Pipelines YAML as far as our tests look at it: files, templates they use, steps, script texts."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from tests.support import ROOT

FOLDER = ROOT / "pipelines"
FILES = sorted(FOLDER.rglob("*.yml"))

# Keys whose value is a script. Of a task's inputs these are: AzureCLI's, Bash's and PowerShell's.
SCRIPT_KEYS = {"bash", "script", "pwsh", "powershell", "inlineScript"}


class StrictLoader(yaml.SafeLoader):
    """Refuses a key that stands twice in a mapping."""


def _mapping(loader: StrictLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [str(loader.construct_object(key)) for key, _ in node.value]
    twice = {key for key in keys if keys.count(key) > 1}
    if twice:
        raise yaml.constructor.ConstructorError(None, None, f"twice: {', '.join(twice)}", node.start_mark)
    return loader.construct_mapping(node, deep=True)


StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def load(file: Path) -> dict[str, Any]:
    """One file, which must be a mapping."""
    document = yaml.load(file.read_text(encoding="utf-8"), Loader=StrictLoader)  # noqa: S506 - it is a safe one
    assert isinstance(document, dict), f"{file} is no pipeline"
    return document


def walk(document: object) -> Iterator[object]:
    """A document, and everything in it."""
    yield document
    if isinstance(document, dict | list):
        for value in document.values() if isinstance(document, dict) else document:
            yield from walk(value)


def nodes(document: object) -> Iterator[dict[str, Any]]:
    """Every mapping in a document."""
    return (value for value in walk(document) if isinstance(value, dict))


def texts(document: object) -> Iterator[str]:
    """Every text in a document."""
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
        """What it declares, by name."""
        return {each["name"]: each for each in self.document.get("parameters", [])}

    @property
    def variables(self) -> dict[str, str]:
        """Its own variables; those of templates are not among them."""
        return {each["name"]: str(each["value"]) for each in self.document.get("variables", []) if "name" in each}

    @property
    def stages(self) -> list[str]:
        return [each["stage"] for each in self.document["stages"]]

    @property
    def calls(self) -> Iterator[tuple[Path, Mapping[str, Any]]]:
        """The templates that it uses, each with the parameters that it passes."""
        for node in nodes(self.document):
            if "template" in node:
                yield self.file.parent / node["template"], node.get("parameters", {})

    @property
    def scripts(self) -> Iterator[str]:
        """The texts that a shell runs."""
        for node in nodes(self.document):
            yield from (str(value) for key, value in node.items() if key in SCRIPT_KEYS)

    @property
    def script_files(self) -> Iterator[Path]:
        """The scripts that tasks run from a file."""
        folder = r"(?:\$\(System\.DefaultWorkingDirectory\)/pipelines/scripts|\$\{\{ parameters\.scriptFolder \}\})"
        for node in nodes(self.document):
            for key in ("scriptPath", "filePath"):
                if key in node:
                    found = re.fullmatch(rf"{folder}/(\w+\.sh)", node[key])
                    assert found is not None, f"{self.file}: {node[key]}"
                    yield FOLDER / "scripts" / found[1]
