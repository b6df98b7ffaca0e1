"""routes.schema.json is generated, accepts what the app accepts, and refuses mistakes that an editor can see."""

import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from handlers import NAMES
from shared.routing.routes_file import DEFAULTS_KEYS, REQUIRED_KEYS, ROUTE_KEYS, ROUTES_KEYS, read_routes
from shared.routing.table import Route
from tests.support import ROOT
from tests.support.builders import ENVIRONMENT, EVERY_KEY, GATHERS
from tests.tools.conftest import Desk
from tools.routes.schema import FILE_NAME, routes_schema, schema_text

SCHEMA = routes_schema(NAMES)
VALIDATOR = Draft7Validator(SCHEMA)
MINIMAL = "name: a\nevent: RunCompleted\npipeline: p"
FLOW = "name: a, event: RunCompleted, pipeline: 1"


def complaints(text: str) -> list[str]:
    return [error.message for error in VALIDATOR.iter_errors(yaml.safe_load(text))]


def table(entry: str, defaults: str = "{ organization_url: 'https://dev.azure.com/contoso', project: p }") -> str:
    indented = entry.strip().replace("\n", "\n    ")
    return f"version: 1\ndefaults: {defaults}\nroutes:\n  - {indented}\n"


def test_the_file_is_up_to_date() -> None:
    assert (ROOT / FILE_NAME).read_text() == schema_text(NAMES), "run: ./manage.py schema --output routes.schema.json"


def test_it_is_a_schema_and_has_every_key() -> None:
    Draft7Validator.check_schema(SCHEMA)
    assert tuple(SCHEMA["properties"]) == ROUTES_KEYS
    assert tuple(SCHEMA["properties"]["defaults"]["properties"]) == DEFAULTS_KEYS
    route = SCHEMA["definitions"]["route"]
    assert tuple(route["properties"]) == ROUTE_KEYS
    assert all(each["description"] for each in route["properties"].values())
    assert set(route["required"]) == set(REQUIRED_KEYS) - set(DEFAULTS_KEYS)
    defaults = {name: default for name, default in Route._field_defaults.items() if isinstance(default, bool)}
    assert {key: each["default"] for key, each in route["properties"].items() if "default" in each} == defaults


def test_the_default_table_refers_to_it_and_is_valid() -> None:
    text = (ROOT / "routes.yaml").read_text()
    assert text.splitlines()[0] == f"# yaml-language-server: $schema={FILE_NAME}"
    assert complaints(text) == []


@pytest.mark.parametrize(
    "changes",
    [
        f"{key}: {value}"
        for key, values in {
            "name": ["'a b'", "''"],
            "event": ["RunComplete", "[RunCompleted]", "a b.c", "landed"],
            "pipeline": ["''", "~"],
            "project": ["a/b"],
            "enabled": ["perhaps"],
            "include_child_runs": ["1"],
            "tags": ["some"],
            "pipeline_version": ["0", "x"],
            "when": ["''", "[a]"],
            "stages_to_skip": ["build", "[{}]"],
            "parameters": ["[a]", "{a: }"],
            "organization_url": ["dev.azure.com/contoso", "http://dev.azure.com/contoso"],
            "cooldown": ["soon", "6", "3h2d", "''"],
            "cooldown_key": ["'{{ run_id }}'"],
            "causes": ["RunCompleted", "[RunComplete]", "[{with: {}}]", "[{event: RunCompleted, when: x}]",
                       "[{event: a.b, with: {region: x}}]", "[{event: RunCompleted, with: {data.x: x}}]",
                       "[{event: RunCompleted, with: {model_name: x}}]",
                       "[{event: RunCompleted, with: {run_id: [x]}}]"],
            "parmeters": ["{}"],
        }.items()
        for value in values
    ],
)  # fmt: skip
def test_mistakes_that_an_editor_can_see(changes: str) -> None:
    lines = {"name": "name: a", "event": "event: RunCompleted", "pipeline": "pipeline: p"}
    lines[changes.partition(":")[0]] = changes
    text = table("\n".join(lines.values()))
    assert complaints(text)
    assert read_routes(text, names=NAMES, environment=ENVIRONMENT).problems


@pytest.mark.parametrize(
    ("text", "is_right"),
    [
        (table(EVERY_KEY), True),
        (table(GATHERS), True),
        (table(GATHERS + "cooldown: 1h"), False),
        (table(MINIMAL, "{ project: p }"), True),
        (table(f"{MINIMAL}\nproject: p", "{ organization_url: 'https://x' }"), True),
        (f"version: 1\nroutes: [{{{FLOW}}}]", True),
        (f"version: 1\nroutes: [{{{FLOW}, project: p, organization_url: 'https://x'}}]", True),
        ("version: 1\nroutes: []", True),
        ("version: 2\nroutes: []", False),
        ("routes: []", False),
        ("version: 1", False),
        ("version: 1\nroutes: []\nrutes: []", False),
        ("version: 1\nroutes: []\ndefaults: {pipeline: 3}", False),
        ("[]", False),
    ],
)
def test_the_file_as_a_whole(text: str, is_right: bool) -> None:
    assert (complaints(text) == []) is is_right
    assert (not read_routes(text, names=NAMES, environment=ENVIRONMENT).problems) is is_right


values: dict[str, st.SearchStrategy[Any]] = {
    "name": st.from_regex(r"\A[A-Za-z0-9][a-z._-]{0,9}\Z") | st.just("${AZURE_DEVOPS_PROJECT}") | st.integers(0),
    "event": st.sampled_from([*NAMES, "a.b", "Nope", "Nope.", "${AZURE_DEVOPS_PROJECT}"]),
    "pipeline": st.sampled_from([42, "42", "deploy", "\\ml\\deploy", "${AZURE_DEVOPS_PROJECT}", "", True]),
    "project": st.sampled_from(["p", 7, "a b", "a/b", "${AZURE_DEVOPS_PROJECT}"]),
    "organization_url": st.sampled_from(
        ["https://x", " https://x/", "http://localhost:1/x", "${AZURE_DEVOPS_ORG_URL}", "http://x"]
    ),
    "cooldown": st.sampled_from(["6h", "1d12h", " 90s ", "1m1h", "6", "${AZURE_DEVOPS_PROJECT}", "0s", "90d"]),
    "cooldown_key": st.sampled_from(["x", "{{ event.id }}", 1]),
    "gather": st.sampled_from(
        [
            {"quiet": "10m", "at_most": "2h"},
            {"quiet": "10m", "at_most": "2h", "by": "{{ event.id }}"},
            {"quiet": "10m"},
            {"quiet": "2h", "at_most": "10m"},
            {"quiet": "10m", "at_most": "2h", "per": "x"},
            "10m",
        ]
    ),
    "pipeline_version": st.sampled_from([1, "3", "03", 0, "x"]),
    "parameters": st.dictionaries(
        st.sampled_from("ab"),
        st.sampled_from(["x", 1, 2.5, True, "", "{{ event.id }}", ["x", {"y": None}], {"x": "{{ event.id }}"}]),
    ),
    "stages_to_skip": st.lists(st.sampled_from(["a", 1, ""])),
    "once_per": st.sampled_from(["x", "{{ event.id }}", "{{"]),
    "when": st.sampled_from(["event.id", "`true`", "'x'", 1]),
    "allow": st.sampled_from([".*", "[", 1]),
    "branch": st.sampled_from(["main", 1, " "]),
    "tags": st.booleans(),
    "causes": st.lists(
        st.sampled_from(
            [
                *(*NAMES, "a.b", {"event": "a.b"}, {"event": "a.b", "with": {"data.region": "x", "data": 1}}),
                {"event": "RunCompleted", "with": {"run_id": 1, "run_tags.a": True}},
                {"event": "Microsoft.Storage.BlobCreated", "with": {"container": "x", "size": 0}},
            ]
        )
    ),
}


needed = {key: values.pop(key) for key in ("name", "event", "pipeline")}


@given(st.fixed_dictionaries(needed, optional=values))
def test_the_schema_accepts_what_the_app_accepts(route: dict[str, Any]) -> None:
    document = {"version": 1, "defaults": {"organization_url": "https://x", "project": "p"}, "routes": [route]}
    reading = read_routes(yaml.safe_dump(document), names=NAMES, environment=ENVIRONMENT)
    if not reading.problems:
        assert list(VALIDATOR.iter_errors(document)) == []


def test_the_command_writes_it(desk: Desk) -> None:
    result = desk.process("schema")
    assert (result.code, result.err, result.out) == (0, "", schema_text(NAMES))
    result = desk.run("schema", "--output", "here.json")
    assert (result.code, result.out, result.err) == (0, "", "wrote here.json\n")
    assert json.loads((desk.folder / "here.json").read_text()) == SCHEMA
