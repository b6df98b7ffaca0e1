"""The default declaration fits routes.yaml, and an invalid one is refused with all problems."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from devstack.ado.declaration import (
    AgentlessDeclaration,
    DeclarationError,
    SecretSource,
    load_declaration,
)
from tests.support import ROOT

if TYPE_CHECKING:
    from pathlib import Path

ROUTES_FILE = ROOT / "routes.yaml"

GOOD: dict[str, Any] = {
    "organization": "contoso",
    "project": "mlops",
    "branches": ["main"],
    "pipelines": [
        {
            "id": 1,
            "name": "evaluation",
            "folder": "\\mlops",
            "parameters": [{"name": "size", "type": "number", "default": 1, "values": [1, 2]}],
            "variables": [{"name": "system.debug", "default": "false", "settable": True}],
            "stages": ["build"],
        }
    ],
}


def _load(tmp_path: Path, document: object) -> Any:
    file = tmp_path / "pipelines.yaml"
    file.write_text(yaml.safe_dump(document), encoding="utf-8")
    return load_declaration(file)


def _problems(tmp_path: Path, document: object) -> list[str]:
    """Return the problems without the name of the file, which each must begin with."""
    with pytest.raises(DeclarationError) as caught:
        _load(tmp_path, document)
    start = f"{tmp_path / 'pipelines.yaml'}: "
    assert all(problem.startswith(start) for problem in caught.value.problems)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return [problem.removeprefix(start) for problem in caught.value.problems]


def test_the_default_declaration_accepts_the_parameters_of_the_default_routes() -> None:
    declaration = load_declaration()
    routes = yaml.safe_load(ROUTES_FILE.read_text(encoding="utf-8"))["routes"]
    by_name = {pipeline.name: pipeline for pipeline in declaration.pipelines}

    assert {route["pipeline"] for route in routes} >= set(by_name)
    for route in routes:
        if (pipeline := by_name.get(route["pipeline"])) is None:
            continue  # a route that somebody has added
        required = {name for name, each in pipeline.parameter_by_name.items() if each.default is None}
        assert required <= set(route["parameters"]) <= set(pipeline.parameter_by_name), route["name"]
        assert pipeline.queue_status == "enabled"
        assert pipeline.may_queue


def test_a_full_declaration_is_read(tmp_path: Path) -> None:
    more = {
        "credentials": {
            "pat": {"environment": "MY_PAT", "default": "canary/declared"},
            "identity_header": {"environment": "MY_HEADER", "default": "canary-header"},
        },
        "agentless": {"timeout_minutes": 5, "early_events": "dropped", "ended_plan_status": 410},
        "pipelines": [*GOOD["pipelines"], {"id": 2, "name": "plain", "queue_status": "disabled", "may_queue": False}],
    }
    declaration = _load(tmp_path, GOOD | more)
    first, second = declaration.pipelines

    assert declaration.pat == SecretSource("MY_PAT", "canary/declared")
    assert declaration.token == SecretSource("DEVSTACK_TOKEN", "devstack-token")
    assert declaration.identity_header == SecretSource("MY_HEADER", "canary-header")
    assert declaration.agentless == AgentlessDeclaration(
        timeout_minutes=5, early_events="dropped", ended_plan_status=410
    )
    assert (first.defaults, first.parameter_by_name["size"].values) == ({"size": "1"}, ("1", "2"))
    assert (first.settable_variables, first.stages, first.folder) == ({"system.debug"}, ("build",), "\\mlops")
    assert (second.queue_status, second.may_queue, second.folder, second.revision) == ("disabled", False, "\\", 1)


@pytest.mark.parametrize(
    ("default", "text"), [(True, "True"), ("yes", "yes"), ({"a": [1]}, '{"a": [1]}'), (None, "null"), (2.5, "2.5")]
)
def test_a_default_becomes_a_string(tmp_path: Path, default: object, text: str) -> None:
    pipeline = GOOD["pipelines"][0] | {"parameters": [{"name": "x", "type": "object", "default": default}]}

    assert _load(tmp_path, GOOD | {"pipelines": [pipeline]}).pipelines[0].defaults == {"x": text}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"organizations": "x"}, "(top level): Additional properties are not allowed ('organizations' was unexpected)"),
        ({"project": "a/b"}, "project: 'a/b' does not match"),
        ({"branches": ["main", "main"]}, "branches: ['main', 'main'] has non-unique elements"),
        ({"credentials": {"pat": {"environment": "X"}}}, "credentials.pat: 'default' is a required property"),
        ({"agentless": {"ended_plan_status": 400}}, "agentless.ended_plan_status: 400 is not one of [404, 410]"),
    ],
)
def test_an_invalid_declaration_is_refused(tmp_path: Path, change: dict[str, Any], problem: str) -> None:
    assert [found.startswith(problem) for found in _problems(tmp_path, GOOD | change)] == [True]


X = {"name": "x"}


@pytest.mark.parametrize(
    ("kind", "value", "problem"),
    [
        ("folder", "mlops", "folder: 'mlops' does not match"),
        ("parameters", [{**X, "type": "text"}], "parameters[0].type: 'text' is not one of ['string', "),
        ("variables", [{**X, "secret": True}], "variables[0]: Additional properties are not allowed"),
        ("variables", [X, {"name": "X"}], "variables[1].name: 'x' is a duplicate"),
        ("parameters", [{**X, "type": "string"}] * 2, "parameters[1].name: 'x' is a duplicate"),
        ("parameters", [{**X, "type": "number", "default": "many"}], "parameters[0].default: The value of the 'x' par"),
        ("parameters", [{**X, "type": "number", "values": ["many"]}], "parameters[0].values: must all be of type num"),
    ],
)
def test_an_invalid_pipeline_is_refused(tmp_path: Path, kind: str, value: object, problem: str) -> None:
    (found,) = _problems(tmp_path, GOOD | {"pipelines": [GOOD["pipelines"][0] | {kind: value}]})
    assert found.startswith(f"pipelines[0].{problem}")


def test_all_problems_are_reported_together(tmp_path: Path) -> None:
    assert _problems(tmp_path, {"project": 7, "branches": ["main"], "pipelines": [{"id": 1, "name": "a"}]}) == [
        "(top level): 'organization' is a required property",
        "project: 7 is not of type 'string'",
    ]
    duplicates = [{"id": 1, "name": "a"}, {"id": 1, "name": "A"}]
    assert _problems(tmp_path, GOOD | {"pipelines": duplicates}) == [
        "pipelines[1].id: 1 is a duplicate",
        "pipelines[1].name: '\\\\\\\\a' is a duplicate",
    ]


def test_a_file_without_a_declaration(tmp_path: Path) -> None:
    assert _problems(tmp_path, ["a", "list"])[0] == "(top level): ['a', 'list'] is not of type 'object'"
    with pytest.raises(DeclarationError, match=r"nowhere\.yaml: cannot be read: No such file or directory"):
        load_declaration(tmp_path / "nowhere.yaml")
    broken = tmp_path / "broken.yaml"
    for content in (b"a: [1,\n", b"[" * 100_000):
        broken.write_bytes(content)
        with pytest.raises(DeclarationError, match=r"broken\.yaml: not valid YAML: "):
            load_declaration(broken)
