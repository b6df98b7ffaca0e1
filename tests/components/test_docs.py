"""docs/trigger-component.md agrees with the component."""

import yaml

from components.trigger_pipeline.inputs import PLACEHOLDERS
from components.trigger_pipeline.program import ExitCode
from tests.support import ROOT
from tests.support.docs import codes, rows, section

TRIGGER = (ROOT / "docs" / "trigger-component.md").read_text()


def test_every_input_of_the_component_is_documented_with_its_default() -> None:
    component = yaml.safe_load((ROOT / "components/trigger_pipeline/component.yml").read_text())
    table = {codes(row[0])[0]: row[1].strip("`") for row in rows(section(TRIGGER, "Inputs"))}
    expected = {
        name: str(each["default"]) if "default" in each else "" if each.get("optional") else "required"
        for name, each in component["inputs"].items()
    }
    assert table == expected


def test_every_exit_code_of_the_component_is_documented() -> None:
    assert [int(codes(row[0])[0]) for row in rows(section(TRIGGER, "Exit codes"))] == [code.value for code in ExitCode]


def test_every_placeholder_is_documented() -> None:
    assert all(f"`{{{{ {name} }}}}`" in TRIGGER for name in PLACEHOLDERS)
