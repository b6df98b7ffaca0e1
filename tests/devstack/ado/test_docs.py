"""docs/devstack.md matches the emulator's routes and declaration."""

from __future__ import annotations

import re
from dataclasses import fields

from devstack.ado import Behavior, load_declaration
from devstack.ado.routes import CONTROL
from tests.support import ROOT

PAGE = (ROOT / "docs" / "devstack.md").read_text(encoding="utf-8")


def _addresses_of_the_code() -> set[str]:
    found = set()
    for rule in CONTROL.map.iter_rules():
        path = re.sub(r"<\w+:(?:run|(\w+))_id>", lambda match: f"<{match[1]} id>" if match[1] else "<id>", rule.rule)
        found |= {f"{method} {path}" for method in (rule.methods or set()) - {"HEAD"}}
    return found


def test_exactly_the_addresses_of_the_emulator_are_documented() -> None:
    documented = re.findall(r"^\| `([A-Z]+ /_emulator/[^`]*)` \|", PAGE, re.MULTILINE)

    assert sorted(documented) == sorted(_addresses_of_the_code())


def test_exactly_the_switches_are_documented_with_their_defaults() -> None:
    documented = dict(re.findall(r"^\| `(\w+)`: [^|]*\*\*(.+?)\*\*", PAGE, re.MULTILINE))

    assert documented == {field.name: str(field.default) for field in fields(Behavior)}


def test_the_secrets_are_documented() -> None:
    declaration = load_declaration()
    for source in (declaration.pat, declaration.token, declaration.identity_header):
        assert f"`{source.environment}`" in PAGE
        assert f"`{source.default}`" in PAGE
