"""Tests of routes_file: every key, and that all mistakes are reported at once, each with its line."""

from collections.abc import Mapping
from datetime import timedelta

import pytest

from handlers import NAMES
from shared.errors import InvalidRoutes, Problem
from shared.routing.routes_file import ROUTE_KEYS, load_routes, read_routes
from shared.routing.table import Cause, GatherKeys, Route
from shared.routing.yaml_nodes import SET_IT
from tests.support import ROOT
from tests.support.builders import ENVIRONMENT, EVERY_KEY, GATHERS, routes
from tests.support.canaries import leaks, secret


def problems(text: str, **environment: str) -> tuple[Problem, ...]:
    with pytest.raises(InvalidRoutes) as caught:
        load_routes(text, source="routes.yaml", names=NAMES, environment={**ENVIRONMENT, **environment})
    return caught.value.problems


def route_problems(entry: str) -> list[str]:
    """Return the problems of a single route, which begins on line 4 of the file."""
    with pytest.raises(InvalidRoutes) as caught:
        routes(entry)
    return [f"{problem.line}: {problem.advice}" for problem in caught.value.problems]


def plain(value: object) -> object:
    """Return templates, conditions and patterns as they are written."""
    if isinstance(value, Mapping):
        return {name: plain(inner) for name, inner in value.items()}
    return getattr(value, "text", None) or getattr(value, "pattern", value)


def test_every_key() -> None:
    (route,) = routes(EVERY_KEY).routes
    assert {key: plain(getattr(route, key)) for key in ROUTE_KEYS} == {
        "name": "everything",
        "event": "ModelRegistered",
        "enabled": False,
        "when": "model_tags.stage == 'candidate'",
        "organization_url": "https://tfs.example/tfs/Collection",
        "project": "other project",
        "pipeline": "\\ml\\deploy",
        "pipeline_version": 3,
        "branch": "refs/tags/v1",
        "parameters": {"version": "{{ model_version }}", "fixed": "5.10", "flag": "true"},  # as written: not 5.1
        "variables": {"MODEL": "{{ model_name }}"},
        "stages_to_skip": ("build", "test"),
        "once_per": "{{ model_name }}",
        "allow": "[a-z]+",
        "correlation_parameter": "nextstageKey",
        "include_child_runs": True,
        "cooldown": timedelta(days=1, hours=2, minutes=3, seconds=4),
        "cooldown_key": "{{ model_name }}",
        "gather": None,
        "tags": False,
        "causes": (Cause("ModelDeployed"), Cause("RunCompleted", {"experiment_name": "train", "run_tags.size": 3})),
    }


def test_the_route_above_uses_every_key() -> None:
    assert {line.partition(":")[0] for line in (EVERY_KEY + GATHERS).split("\n") if line} == set(ROUTE_KEYS)


def test_a_route_may_gather() -> None:
    (route,) = routes(GATHERS).routes
    assert route.gather is not None
    assert {key: plain(value) for key, value in route.gather._asdict().items()} == {
        "quiet": timedelta(minutes=10),
        "at_most": timedelta(hours=2),
        "by": "{{ experiment_name }}",
    }
    (route,) = routes(GATHERS.replace(', by: "{{ experiment_name }}"', "")).routes
    assert route.gather == GatherKeys(timedelta(minutes=10), timedelta(hours=2))
    (route,) = routes(GATHERS.replace("2h", "10m")).routes
    assert route.gather is not None
    assert route.gather.at_most == route.gather.quiet


@pytest.mark.parametrize(
    ("gather", "problem"),
    [
        ("{ quiet: 10m }", "has no 'at_most'; write {quiet: 10m, at_most: 2h}"),
        ("{}", "has no 'quiet' and no 'at_most'; write {quiet: 10m, at_most: 2h}"),
        ("10m", "must be a mapping of keys to values; write {quiet: 10m, at_most: 2h}"),
        ("{ quiet: ten, at_most: 2h }", "is not a duration"),
        ("{ quiet: 1m, at_most: 31d }", "must be at most 30 days"),
        ("{ quiet: 2h, at_most: 10m }", "is shorter than 'quiet'"),
        ("{ quiet: 1m, at_most: 2m, per: x }", "gather has no such key; known: at_most, by, quiet"),
        ("{ quiet: 1m, at_most: 2m, by: '{{ blob }}' }", "uses the name 'blob'"),
        ("{ quiet: 1m, at_most: 2m, by: '{{ gathered_count }}' }", "only 'parameters' and 'variables' of a route"),
        ("{ quiet: 1m, at_most: 2m }\ncooldown: 1h", "cannot be combined with 'cooldown'"),
        ("{ quiet: 1m, at_most: 2m }\nwhen: gathered_count > `1`", "uses the name 'gathered_count'"),
    ],
)
def test_a_wrong_gather_is_one_problem(gather: str, problem: str) -> None:
    with pytest.raises(InvalidRoutes) as caught:
        routes(f"name: a\nevent: RunCompleted\npipeline: p\ngather: {gather}")
    (found,) = caught.value.problems
    assert problem in found.advice


def test_only_the_run_of_a_route_that_gathers_knows_how_much() -> None:
    with pytest.raises(InvalidRoutes, match="only 'parameters' and 'variables' of a route with 'gather' have it"):
        routes("name: a\nevent: RunCompleted\npipeline: p\nparameters: { count: '{{ gathered_count }}' }")


def test_defaults_apply_unless_a_route_sets_its_own_value() -> None:
    first, second = routes(
        "name: a\nevent: RunCompleted\npipeline: p",
        "name: b\nevent: RunCompleted\npipeline: p\nproject: q\nbranch: dev",
    ).routes
    assert (first.organization_url, first.project, first.branch) == ("https://dev.azure.com/contoso", "mlops", "main")
    assert (second.project, second.branch) == ("q", "dev")
    assert first == Route(
        name="a",
        event="RunCompleted",
        pipeline="p",
        organization_url="https://dev.azure.com/contoso",
        project="mlops",
        branch="main",
    )


@pytest.mark.parametrize(("written", "pipeline"), [("42", 42), ("'42'", 42), ("${ID}", 7), ("name", "name")])
def test_a_pipeline_is_an_id_or_a_name(written: str, pipeline: int | str) -> None:
    entry = f"name: a\nevent: RunCompleted\npipeline: {written}"
    assert routes(entry, environment={**ENVIRONMENT, "ID": "7"}).routes[0].pipeline == pipeline


def test_environment_values_are_replaced_anywhere() -> None:
    entry = 'name: a\nevent: RunCompleted\npipeline: p\nparameters: { where: "in ${STAGE}/{{ run_id }}" }'
    (route,) = routes(entry, environment={**ENVIRONMENT, "STAGE": "test"}).routes
    assert route.parameters["where"].text == "in test/{{ run_id }}"


def test_five_mistakes_are_five_problems_each_with_its_line() -> None:
    text = """version: 1
defaults:
  organization_url: ${AZURE_DEVOPS_ORG_URL}
  project: ${NOT_SET}
routes:
  - name: a
    event: RunComplete
    pipeline: p
    parmeters: {}
  - name: b
    event: RunCompleted
    when: experiment_nam == 'x'
    pipeline: p
    parameters:
      run: {{ run_id }}
"""
    assert [(problem.line, problem.column, problem.text) for problem in problems(text)] == [
        (4, 12, "${NOT_SET}"),
        (7, 12, "RunComplete"),
        (9, 5, "parmeters"),
        (12, 11, "experiment_nam == 'x'"),
        (15, 12, "{{ run_id }}"),
    ]


def test_a_mistake_in_an_expression_has_its_own_line_and_column() -> None:
    text = """version: 1
defaults: { organization_url: https://dev.azure.com/contoso, project: "${AZURE_DEVOPS_PROJECT}" }
routes:
  - name: a
    event: RunCompleted
    when: >-
      experiment_name == 'train' &&
      experiment_nam == 'x' && run_tag.x
    pipeline: p
    parameters: { run: "of ${AZURE_DEVOPS_PROJECT}: {{ run_idd }} {{ run_id = }}" }
"""
    lines = text.splitlines()
    assert [(problem.line, problem.column) for problem in problems(text)] == [
        (8, lines[7].index("experiment_nam") + 1),
        (8, lines[7].index("run_tag") + 1),
        (10, lines[9].index("run_idd") + 1),
        (10, lines[9].index("= }}") + 1),
    ]


def test_valid_routes_are_read_even_if_environment_values_are_not_set() -> None:
    text = """version: 1
defaults: { organization_url: "${URL}", project: "${PROJECT}" }
routes:
  - name: a
    event: RunCompleted
    when: experiment_name == '${EXPERIMENT}' && run_id
    pipeline: ${PIPELINE}
    parameters: { x: 1, y: 2 }
  - { name: b, event: RunCompleted, pipeline: p, cooldown: "${COOLDOWN}" }
  - { name: c, event: RunCompleted, pipeline: p, parameters: { x: "{{ ${NAME} }}" } }
  - { name: d e, event: RunCompleted, pipeline: p }
"""
    reading = read_routes(text, names=NAMES, environment={})
    assert [problem.line for problem in reading.unset] == [2, 2, 6, 7, 9, 10]
    assert reading.unset[0].what == "needs the environment value URL, which is not set"
    assert reading.unset[0].suggestion == SET_IT
    assert [problem.line for problem in reading.problems] == [11], "a value that is not set may be valid once it is set"
    (route,) = reading.table.routes
    assert (route.organization_url, route.project, route.pipeline) == ("${URL}", "${PROJECT}", "${PIPELINE}")
    assert reading.places["a",] == (4, 5)
    assert reading.places["a", "when"] == (6, 11)
    assert reading.places["a", "parameters", "y"] == (8, 25), "the position of its name"
    with pytest.raises(InvalidRoutes) as caught:
        load_routes(text, source="routes.yaml", names=NAMES, environment={})
    assert len(caught.value.problems) == 7


def test_a_route_with_a_problem_is_not_in_the_table() -> None:
    right = "{ name: a, event: RunCompleted, pipeline: p"
    wrong = ["when: x", "parameters: { a: }", "causes: [Nope]", "nope: 1", "cooldown_key: x", "stages_to_skip: [[]]"]
    entries = "".join(f"  - {right.replace('a,', f'a{number},')}, {each} }}\n" for number, each in enumerate(wrong))
    text = f"version: 1\ndefaults: {{ organization_url: https://x, project: p }}\nroutes:\n  - {right} }}\n{entries}"
    reading = read_routes(text, names=NAMES, environment={})
    assert [route.name for route in reading.table.routes] == ["a"]
    assert len(reading.problems) == len(wrong)


def test_the_message_shows_all_problems_with_file_line_and_column() -> None:
    with pytest.raises(InvalidRoutes) as caught:
        routes("name: a b\nevent: Nope\npipeline:")
    lines = str(caught.value).splitlines()
    assert lines[0] == "routes.yaml has 3 problems, so the app does not start:"
    assert [line.split(" ")[2] for line in lines[1:]] == ["routes.yaml:4:11:", "routes.yaml:5:12:", "routes.yaml:6:14:"]


@pytest.mark.parametrize(
    ("text", "line", "advice"),
    [
        ("", 1, "the file is empty"),
        ("# nothing\n", 1, "the file is empty"),
        ("a: [1\nb: 2", 2, "the file is not valid YAML"),
        ("\ta: 1", 1, "the file is not valid YAML"),
        ("version: 1\x07", 1, "the file is not valid YAML"),
        (r'name: "\ml"', 1, r"unknown escape character; in double quotes, a backslash begins an escape sequence; use"),
        (r'name: "\xml"', 1, r"; use single quotes, as in '\ml\evaluate'"),
        ("version: 2\nroutes: []", 1, "is not a supported version"),
        ("version: x\nroutes: []", 1, "must be a whole number"),
        ("routes: []", 1, "'version' is missing"),
        ("version: 1", 1, "'routes' is missing"),
        ("version: 1\nroutes: {}", 2, "routes must be a list"),
        ("version: 1\nroutes: [x]", 2, "a route must be a mapping"),
        ("version: 1\nroutes: []\nrutes: []", 3, "did you mean 'routes'?"),
        ("version: 1\nroutes: []\nroutes: []", 3, "appears twice"),
        ("version: 1\nroutes: []\n? [a]\n: b", 3, "a key must be a plain string"),
        ("version: 1\nroutes: []\ndefaults: []", 3, "defaults must be a mapping"),
        ("version: 1\nroutes: []\ndefaults: {pipeline: 3}", 3, "defaults has no such key"),
    ],
)
def test_mistakes_in_the_file_as_a_whole(text: str, line: int, advice: str) -> None:
    assert any(problem.line == line and advice in problem.advice for problem in problems(text))


@pytest.mark.parametrize("text", ["- a", "[1]", "text", "~"])
def test_a_file_that_is_not_a_mapping_is_one_problem(text: str) -> None:
    (problem,) = problems(text)
    assert (problem.line, problem.text) == (1, text)
    assert problem.advice == "the file must be a mapping of keys to values; begin it with 'version: 1'"


@pytest.mark.parametrize("bracket", ["[", "{", "- ", "? ", "[a, ", '{"a": '])
def test_a_file_that_is_nested_too_deeply_is_one_problem(bracket: str) -> None:
    """Without a limit, the process ends."""
    (problem,) = problems(bracket * 100_000)
    assert problem.advice == "the file is not valid YAML: collections are nested more than 100 levels deep"
    assert (problem.line, problem.column) == (1, 1 + 100 * len(bracket))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ("name: '-x'", "4: must begin with a letter or digit"),
        ("event: [RunCompleted]", "5: must be one event type, not a list; write one route for each type"),
        *(
            (f"event: {name}", f"5: is not an event type; did you mean '{meant}'?")
            for name, meant in (
                ("RunComplete", "RunCompleted"),
                ("BlobCreated", "Microsoft.Storage.BlobCreated"),
                ("microsoft.storage.blobCreated", "Microsoft.Storage.BlobCreated"),
            )
        ),
        *((f"event: nextstage.{name}", "5: is an event of nextstage") for name in ("Canary", "run.queued")),
        *(
            (f"event: {name}", "5: is not an event type, nor a full type, which has a dot, such as ")
            for name in ("landed", "a b.c", ".a", "a.", "a..b")
        ),
        ("pipeline: ''", "6: is empty"),
        ("pipeline: ~", "6: has no value"),
        ('pipeline: "{{ run_id }}"', "6: contains a placeholder"),
        ("branch: $(evil)", "7: contains '$('"),
        ("project: a/b", "7: must be the name or id of a project"),
        ("enabled: perhaps", "7: must be true or false"),
        ("enabled: [true]", "7: must be true or false"),
        ("include_child_runs: 1", "7: must be true or false"),
        ("pipeline_version: 0", "7: must be a whole number above zero"),
        ("pipeline_version: x", "7: must be a whole number above zero"),
        (f"pipeline_version: {'9' * 5000}", "7: must be at most 2147483647"),
        ("when: ''", "7: is not JMESPath"),
        ("when: model_name", "7: uses the name 'model_name', which does not exist here"),
        ("once_per: '{{ run_id'", "7: has a placeholder that is not closed"),
        ("allow: '['", "7: is not a regular expression: missing ]: [; see https://github.com/google/re2/wiki/Syntax"),
        ("stages_to_skip: build", "7: stages_to_skip must be a list"),
        ("stages_to_skip: [{}]", "7: must be a single value, not a mapping"),
        ("parameters: [a]", "7: parameters must be a mapping"),
        ("parameters: {a: {{ run_id }}}", "7: has a key without a value; write null, or put a placeholder in"),
        ("parmeters: {}", "7: a route has no such key; did you mean 'parameters'?"),
        ("parameters: {a: }", "7: has no value"),
        ("parameters: {a: '{{ nope }}'}", "7: uses the name 'nope'"),
        ("parameters: {a: $(x)}", "7: contains '$(', which must never reach"),
        ("organization_url: dev.azure.com/contoso", "7: must begin with https://"),
        ("organization_url: http://dev.azure.com/contoso", "7: must begin with https://"),
        ("organization_url: https://", "7: must begin with https://"),
        ("organization_url: 'https://[x'", "7: is not a URL"),
        ("organization_url: 'https://a:99999/b'", "7: is not a URL"),
        ("organization_url: https://dev.azure.com/contoso?x=1", "7: must not contain a user name"),
        ("cooldown: '0s'", "7: must be longer than 0s; write '90s', '30m', '6h', '1h30m' or '2d', 30d at most"),
        ("cooldown: soon", "7: is not a duration; write '90s', '30m', '6h', '1h30m' or '2d', 30d at most"),
        ("cooldown: 31d", "7: must be at most 30 days"),
        ("cooldown_key: '{{ run_id }}'", "7: has no effect without 'cooldown'"),
        ("tags: some", "7: must be true or false"),
        ("correlation_parameter: a\nparameters: {a: b}", "7: is also in 'parameters'"),
        ("causes: RunCompleted", "7: causes must be a list"),
        ("causes: [RunComplete]", "7: is not an event type; did you mean 'RunCompleted'?"),
        ("causes: [{with: {}}]", "7: 'event' is missing from this cause"),
        ("causes: [{event: Nope}]", "7: is not an event type"),
        ("causes: [{event: RunCompleted, when: x}]", "7: a cause has no such key; known: event, with"),
        (
            "causes: [{event: RunCompleted, with: {run: x}}]",
            "7: RunCompleted events have no name 'run'; did you mean 'run_id'?",
        ),
        ("causes: [{event: RunCompleted, with: {run_id: [x]}}]", "7: must be a single value, not a list"),
        ("causes: [{event: RunCompleted, with: {run_id: 2026-01-01}}]", "7: must be a string, a number, true or false"),
        ("causes: [{event: RunCompleted, with: {run_id: 2026-02-30}}]", "7: must be a string, a number, true or false"),
        ("causes: [{event: RunCompleted, with: {run_id: !!bool x}}]", "7: must be a string, a number, true or false"),
        (f"causes: [{{event: RunCompleted, with: {{run_id: {'9' * 5000}}}}}]", "7: must be a string, a number, true"),
        ("causes: [{event: RunCompleted, with: {run_id: }}]", "7: has no value"),
        (f"when: {'(' * 5000}", "7: is nested too deeply; write contains([…], name) in place of many '||'"),
        (f"when: run_id{' || run_id' * 200}", "7: is nested too deeply"),
        (f"when: '`{'[' * 100_000}`'", "7: is nested too deeply"),
        (f"when: run_id[{'9' * 5000}]", "7: is not JMESPath: a number has too many digits"),
    ],
)
def test_mistakes_in_a_route(changes: str, expected: str) -> None:
    lines = {"name": "name: a", "event": "event: RunCompleted", "pipeline": "pipeline: p"}
    for line in changes.splitlines():
        lines[line.partition(":")[0]] = line
    assert any(problem.startswith(expected) for problem in route_problems("\n".join(lines.values())))


def test_a_full_type_may_use_only_event_and_data() -> None:
    entry = "name: a\nevent: com.example.landed\npipeline: p\nwhen: data.a.b == event.id"
    assert routes(entry).routes[0].event == "com.example.landed"
    (problem,) = route_problems(entry.replace("data.a", "region"))
    assert problem == "7: uses the name 'region', which does not exist here; known: data, event; write data.region.b"
    (problem,) = route_problems(entry.replace("event.id", "event.subjct"))
    assert problem.endswith("did you mean 'event.subject'?")


@pytest.mark.parametrize(
    ("pattern", "column", "reason"),
    [
        ("[a-z](?!x).*", 18, "invalid perl operator: (?!; RE2 has no lookaround; write out what a value may be"),
        (r"(a)-\1", 17, r"invalid escape sequence: \1; RE2 has no backreferences; write out the repeated part"),
        ("(?P<x>a)(?P=x)", 21, "invalid perl operator: (?P; RE2 has no backreferences"),
        ("[a-z]++", 18, "bad repetition operator: ++; RE2 never backtracks; write a plain group or a single"),
        (r"[a-z]+\Z", 19, r"invalid escape sequence: \Z; the pattern always has to match the whole value; remove"),
    ],
)
def test_a_pattern_that_needs_backtracking_is_refused_with_its_place(pattern: str, column: int, reason: str) -> None:
    with pytest.raises(InvalidRoutes) as caught:
        routes(f"name: a\nevent: RunCompleted\npipeline: p\nallow: '{pattern}'")
    (problem,) = caught.value.problems
    assert (problem.line, problem.column) == (7, column)
    assert problem.advice.startswith(f"is not a regular expression: {reason}")


def test_names_are_unique() -> None:
    with pytest.raises(InvalidRoutes) as caught:
        routes("name: a\nevent: RunCompleted\npipeline: p", "name: a\nevent: RunCompleted\npipeline: p")
    (problem,) = caught.value.problems
    assert (problem.line, problem.advice) == (7, "the route on line 4 already has this name; choose another")


def test_missing_keys_are_named() -> None:
    found = problems("version: 1\nroutes:\n  - enabled: true\n")
    assert [(problem.line, problem.advice.split(" ")[0]) for problem in found] == [
        (3, f"'{key}'") for key in sorted(["name", "event", "pipeline"])
    ]


class TestWithoutDefaults:
    """The settings AZURE_DEVOPS_ORG_URL and AZURE_DEVOPS_PROJECT are the defaults."""

    TEXT = """version: 1
routes:
  - { name: a, event: RunCompleted, pipeline: p }
  - { name: b, event: RunCompleted, pipeline: p, project: q, organization_url: https://x }
  - { name: c, event: RunCompleted, pipeline: p }
"""

    def test_the_settings_are_the_defaults(self) -> None:
        found = read_routes(self.TEXT, names=NAMES, environment=ENVIRONMENT)
        assert (found.problems, found.unset) == ((), ())
        assert [(route.organization_url, route.project) for route in found.table.routes] == [
            ("https://dev.azure.com/contoso", "mlops"),
            ("https://x", "q"),
            ("https://dev.azure.com/contoso", "mlops"),
        ]

    def test_defaults_of_the_file_come_first(self) -> None:
        text = self.TEXT.replace("routes:", "defaults: { project: r }\nroutes:")
        found = read_routes(text, names=NAMES, environment=ENVIRONMENT)
        assert [(route.organization_url, route.project) for route in found.table.routes] == [
            ("https://dev.azure.com/contoso", "r"),
            ("https://x", "q"),
            ("https://dev.azure.com/contoso", "r"),
        ]

    def test_a_setting_that_is_not_set_is_reported_once(self) -> None:
        found = problems(self.TEXT, AZURE_DEVOPS_ORG_URL="", AZURE_DEVOPS_PROJECT="")
        assert [(problem.line, problem.column, problem.text) for problem in found] == [(3, 5, ""), (3, 5, "")]
        assert [problem.what for problem in found] == [
            f"'{key}' is missing from this route, and its default, the setting {name}, is not set"
            for key, name in (("organization_url", "AZURE_DEVOPS_ORG_URL"), ("project", "AZURE_DEVOPS_PROJECT"))
        ]
        assert found[0].suggestion == SET_IT
        reading = read_routes(self.TEXT, names=NAMES, environment={})
        assert len(reading.table.routes) == 3, "they are checked although the settings are not known here"

    def test_a_wrong_setting_is_named_and_its_value_is_not(self) -> None:
        (problem,) = problems(self.TEXT, AZURE_DEVOPS_ORG_URL=f"http://user:{secret('pat')}@x")
        assert (problem.line, problem.text) == (3, "AZURE_DEVOPS_ORG_URL")
        assert problem.advice.startswith("must not contain a user name and password in a URL")
        assert leaks(problem.advice) == []


@pytest.mark.parametrize("host", ["127.0.0.1:7080", "localhost", "[::1]:80"])
def test_http_is_for_this_machine_only(host: str) -> None:
    entry = f"name: a\nevent: RunCompleted\npipeline: p\norganization_url: 'http://{host}/contoso'"
    assert routes(entry).routes[0].organization_url == f"http://{host}/contoso"


def test_a_credential_in_a_url_is_refused_and_not_shown() -> None:
    """The URL comes from the environment: the message may contain the name of the value, never the value."""
    environment = {"AZURE_DEVOPS_ORG_URL": f"https://user:{secret('pat')}@dev.azure.com/contoso"}
    with pytest.raises(InvalidRoutes) as caught:
        routes("name: a\nevent: RunCompleted\npipeline: p", environment={**ENVIRONMENT, **environment})
    assert "must not contain a user name" in str(caught.value)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    "line",
    [
        f"organization_url: https://user:{secret('pat')}@dev.azure.com/contoso",
        f"organization_url: https://{secret('pat')}@dev.azure.com/contoso",
        f"organization_url: https://user:{secret('p/w')}@dev.azure.com/contoso",
        f"organization_url: https://dev.azure.com/contoso?pat={secret('pat')}",
        f"parameters: {{ url: 'https://user:{secret('pw')}@host' }}",
        f"when: run_id == 'https://user:{secret('pw')}@host'",
        f"project: https://user:{secret('pw')}@host",
        f"causes: [{{event: RunCompleted, with: {{'https://user:{secret('pw')}@host': x}}}}]",
        f"https://user:{secret('pw')}@host: x",
    ],
)
def test_a_credential_in_the_file_is_refused_and_not_shown(line: str) -> None:
    with pytest.raises(InvalidRoutes) as caught:
        routes(f"name: a\nevent: RunCompleted\npipeline: p\n{line}")
    assert str(caught.value).count("routes.yaml:7:") == 1
    assert leaks(str(caught.value)) == []


@pytest.mark.parametrize(
    "name", ["AZURE_DEVOPS_EXT_PAT", "azure_devops_ext_pat", "WAIT_TOKEN_KEYS", "AzureWebJobsStorage"]
)
@pytest.mark.parametrize("value", ["", secret("pat")])
def test_a_secret_setting_is_refused(name: str, value: str) -> None:
    """Parameters can be read by everyone who can view the run, and 'explain' prints them."""
    text = (
        "version: 1\ndefaults: { organization_url: https://x, project: p }\nroutes:\n"
        f"  - name: a\n    event: RunCompleted\n    pipeline: p\n    parameters: {{ token: 'x ${{{name}}}' }}\n"
    )
    reading = read_routes(text, names=NAMES, environment={name: value})
    assert [(problem.line, problem.advice) for problem in (*reading.problems, *reading.unset)] == [
        (7, f"uses the secret {name}; a pipeline reads its secrets from its own variable group or vault")
    ]


def test_a_port_and_an_at_sign_are_no_password() -> None:
    entry = "name: a\nevent: RunCompleted\npipeline: p\nparameters: { model: 'http://host:8080/models/fraud@prod' }"
    assert routes(entry).routes[0].parameters["model"].text == "http://host:8080/models/fraud@prod"


def test_the_default_table_is_valid_and_covers_every_event_type() -> None:
    table = load_routes((ROOT / "routes.yaml").read_text(), source="routes.yaml", names=NAMES, environment=ENVIRONMENT)
    assert {route.event for route in table.routes} >= {name for name in NAMES if "." not in name}
