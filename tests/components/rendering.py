"""The commands of components and jobs as Azure ML renders them."""

import re
from collections.abc import Mapping
from pathlib import Path

import yaml

from tests.support import ROOT


def command_of(file: str, inputs: Mapping[str, object], outputs: Mapping[str, Path]) -> str:
    """Return the command of a component or job with these inputs and the defaults of the others."""
    document = yaml.safe_load((ROOT / file).read_text())
    declared = document["inputs"].items()  # a component declares its inputs, a job gives their values
    defaults = {
        name: each.get("default") if isinstance(each, dict) else each
        for name, each in declared
        if not isinstance(each, dict) or "default" in each
    }
    return rendered(document["command"], {**defaults, **inputs}, outputs)


def rendered(command: str, inputs: Mapping[str, object], outputs: Mapping[str, Path]) -> str:
    """Render a component's command as Azure ML does. A part in ``$[[ ]]`` is omitted if its input is not given.

    Source: Azure docs, machine-learning/how-to-manage-inputs-outputs-pipeline, optional inputs.
    """

    def optional(found: re.Match[str]) -> str:
        names = re.findall(r"\$\{\{inputs\.(\w+)\}\}", found[1])
        return found[1] if all(name in inputs for name in names) else ""

    command = re.sub(r"\$\[\[(.*?)\]\]", optional, command, flags=re.DOTALL)
    command = re.sub(r"\$\{\{inputs\.(\w+)\}\}", lambda found: str(inputs[found[1]]), command)
    return re.sub(r"\$\{\{outputs\.(\w+)\}\}", lambda found: str(outputs[found[1]]), command)
