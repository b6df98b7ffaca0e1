"""``manage.py check``: every mistake with its place, and no false warnings."""

from pathlib import Path

import pytest

from handlers import NAMES
from tests.support import ROOT
from tests.support.builders import ENVIRONMENT, GATHERS, run_completed
from tests.tools.conftest import Desk, Result
from tools.routes.checks import check
from tools.routes.findings import Finding, Rule, Severity

NEVER, PARKS = Rule.NEVER_MATCHES, Rule.ALWAYS_PARKS
HEAD = """version: 1
defaults: { organization_url: https://dev.azure.com/contoso, project: mlops }
routes:
"""


def findings(*entries: str, file: Path = Path("nowhere/routes.yaml")) -> list[Finding]:
    """Check routes in YAML. Each begins with its ``name:`` line and is not indented."""
    text = HEAD + "\n".join("  - " + entry.strip().replace("\n", "\n    ") for entry in entries) + "\n"
    return check(text, file, NAMES, ENVIRONMENT)[1]


def brief(*entries: str, file: Path = Path("nowhere/routes.yaml")) -> list[tuple[int, Rule, str]]:
    return [(each.line, each.rule, each.text) for each in findings(*entries, file=file)]


def route(event: str, *lines: str, name: str = "a", pipeline: str = "p") -> str:
    return "\n".join([f"name: {name}", f"event: {event}", f"pipeline: {pipeline}", *lines])


class TestAsAProcess:
    def test_nothing_is_wrong(self, desk: Desk) -> None:
        assert desk.process("check") == Result(0, "routes.yaml: 1 route, nothing is wrong\n", "")
        assert desk.run("check", ROOT / "routes.yaml", "--strict").code == 0
        desk.settings = {"JOURNAL_LEASE_SECONDS": "x"}
        assert desk.run("check").code == 2, "without a file, wrong settings are an error"
        assert desk.run("check", desk.folder / "routes.yaml").code == 0
        desk.settings = {"RESUME_STORAG": "sqlite"}
        result = desk.run("check", "--strict")
        assert (result.code, "did you mean 'RESUME_STORAGE'?" in result.err) == (0, True)

    def test_findings_are_printed_as_compilers_do(self, desk: Desk) -> None:
        desk.routes(
            "name: a\nevent: RunCompleted\npipeline: p\nwhen: run_idd == 'x'\nparmeters: {}",
            "name: b\nevent: RunStatusChanged\npipeline: p\nwhen: run_status == 'failed'",
        )
        result = desk.process("check", "routes.yaml")
        assert (result.code, result.err) == (1, "")
        assert result.out.splitlines() == [
            "routes.yaml:7:11: error: \"run_idd == 'x'\": uses the name 'run_idd', which does not exist here",
            "    did you mean 'run_id'?",
            "routes.yaml:8:5: error: 'parmeters': a route has no such key",
            "    did you mean 'parameters'?",
            "routes.yaml:12:11: warning: \"run_status == 'failed'\": can never be true, so the route never matches",
            "    run_status is 'Completed', 'Failed' or 'Canceled'; did you mean 'Failed'?",
            "routes.yaml: 2 errors, 1 warning",
        ]

    def test_a_route_that_gathers_needs_a_resume_queue(self, desk: Desk) -> None:
        desk.routes(GATHERS, GATHERS.replace("gathers", "off") + "enabled: false")
        assert desk.run("check").out.splitlines()[:2] == [
            (
                "routes.yaml:9:13: warning: 'gather': needs a resume queue, and none is set here; without it, the app "
                "does not start"
            ),
            "    set RESUME_STORAGE or RESUME_STORAGE__queueServiceUri",
        ]
        desk.settings = {"RESUME_STORAGE__queueServiceUri": "https://a.queue.core.windows.net"}
        assert desk.run("check", "--strict").out == "routes.yaml: 2 routes, nothing is wrong\n"

    def test_environment_values_that_are_not_set_are_warnings(self, desk: Desk) -> None:
        desk.settings = {"AZURE_DEVOPS_PROJECT": ""}
        result = desk.run("check", "--json")
        (finding,) = result.json["findings"]
        line = (desk.folder / "routes.yaml").read_text().splitlines()[1]
        assert (result.code, result.json["errors"], result.json["warnings"]) == (0, 0, 1)
        assert (finding["rule"], finding["line"], finding["column"]) == (
            "unset-environment",
            2,
            line.index("${AZURE_DEVOPS_PROJECT}") + 1,
        )
        assert desk.run("check", "--strict").code == 1

    def test_a_secret_setting_is_never_printed(self, desk: Desk) -> None:
        """The desk has a PAT in AZURE_DEVOPS_EXT_PAT, and fails if a command prints it."""
        desk.routes("name: a\nevent: RunCompleted\npipeline: p\nparameters: { pat: '${AZURE_DEVOPS_EXT_PAT}' }")
        desk.file(run_completed())
        result = desk.run("check")
        assert (result.code, "uses the secret AZURE_DEVOPS_EXT_PAT" in result.out) == (1, True)
        result = desk.run("explain", "event.json")
        assert (result.code, "uses the secret AZURE_DEVOPS_EXT_PAT" in result.err) == (2, True)

    def test_json_has_every_field(self, desk: Desk) -> None:
        desk.routes("name: b\nevent: RunStatusChange\npipeline: p")
        result = desk.run("check", "--json")
        finding = {
            "line": 5,
            "column": 12,
            "severity": "error",
            "rule": "invalid",
            "text": "RunStatusChange",
            "message": "is not an event type",
            "suggestion": "did you mean 'RunStatusChanged'?",
        }
        assert (result.code, result.json) == (
            1,
            {"file": "routes.yaml", "errors": 1, "warnings": 0, "findings": [finding]},
        )

    def test_a_file_that_is_not_yaml_is_one_finding(self, desk: Desk) -> None:
        (desk.folder / "routes.yaml").write_text("a: [1\n")
        result = desk.run("check")
        assert result.code == 1
        assert result.out.splitlines()[-1].endswith("routes.yaml: 1 error, 0 warnings")


# fmt: off
DOUBTFUL = [
    ("RunCompleted", "`null`", NEVER, ""),
    ("RunCompleted", "experiment_name == 'a' && experiment_name == 'b'", NEVER, "exclude each other: exp"),
    ("RunStatusChanged", "experiment_name == 'a' && (run_status == 'Running' || run_status == 'x')", NEVER,
     "run_status is 'Completed', 'Failed' or 'Canceled'"),
    ("ModelRegistered", "model_version == `3`", NEVER, "; write '3'"),
    ("ModelRegistered", "`3` < model_version", PARKS, "; write to_number(model_version)"),
    ("DatasetDriftDetected", "drift_coefficient > '0.3'", PARKS, "; write `0.3`"),
    ("RunStatusChanged", "monitor_threshold_breached == 'true'", NEVER, "is a boolean, but the literal is a string"),
    ("ModelRegistered", "contains(model_tags, 'x')", PARKS, "is an object, which contains() does not accept"),
    ("ModelRegistered", "!model_tags.old", NEVER, "write !(model_tags.old)"),
    ("RunCompleted", "run_type == 'azureml.StepRun'", NEVER, ""),
    ("RunCompleted", "sum(length(run_id))", PARKS, "is a number, which sum() does not accept"),
    ("RunCompleted", "!run_id || (`null` && run_id)", NEVER, ""),
    ("RunCompleted", "experiment_name == run_tags && run_id", NEVER, "is a string, but run_tags is an object"),
    ("RunCompleted", "sum(sum(run_id))", PARKS, "run_id is a string, which sum() does not accept"),
    ("RunCompleted", "keys((`1`).a)", PARKS, "is null, which keys() does not accept"),
    ("DatasetDriftDetected", "drift_coefficient", Rule.ALWAYS_TRUE, "leave 'when' out"),
    ("ModelRegistered", "model_id == 'a:1' || model_id != 'a:1'", Rule.ALWAYS_TRUE, "leave 'when' out"),
]
# fmt: on


@pytest.mark.parametrize(("event", "when", "rule", "suggestion"), DOUBTFUL)
def test_conditions_that_are_probably_mistakes(event: str, when: str, rule: Rule, suggestion: str) -> None:
    (found,) = findings(route(event, f'when: "{when}"'))
    assert (found.line, found.rule, found.text) == (7, rule, when)
    assert bool(found.suggestion) is bool(suggestion)
    assert suggestion in found.suggestion


@pytest.mark.parametrize(
    ("event", "line"),
    [
        ("RunCompleted", "when: experiment_name == 'a' || experiment_name == 'b'"),
        ("RunCompleted", "when: run_tags.team && contains(run_tags.team, 'x')"),
        ("RunCompleted", "when: length(run_tags)"),
        ("RunCompleted", "when: run_type == 'azureml.StepRun'\ninclude_child_runs: true"),
        ("ModelRegistered", "when: to_number(model_version) > `3`"),
        ("ModelRegistered", "when: data.ModelName == 'x' && data.MODELTAGS"),
        ("ModelRegistered", "parameters: { v: '{{ data.ModelVersion }} {{ model_tags.Stage }}' }"),
        ("ModelDeployed", "when: model_ids[?starts_with(@, 'fraud')]"),
        ("RunStatusChanged", "when: run_status != 'Completed' && !monitor_threshold_breached"),
        ("ModelRegistered", "once_per: '{{ model_tags.stage }}{{ model_version }}{{ event.workspace }}{{ data.own }}'"),
    ],
)
def test_conditions_that_may_be_intended(event: str, line: str) -> None:
    assert brief(route(event, line)) == []


@pytest.mark.parametrize(
    ("line", "text", "suggestion"),
    [
        (
            "parameters: { v: '{{ model_tags }}' }",
            "model_tags",
            "it is an object; use an expression that gives a single value",
        ),
        ("variables: { v: '{{ keys(model_tags) }}' }", "keys(model_tags)", "join(',', keys(model_tags)) }}"),
        ("once_per: '{{ model_id.x }}'", "model_id.x", "it is null; use an expression that gives a single value"),
        ("once_per: '{{ length(event) }}{{ sum(model_tags) }}'", "sum(model_tags)", "which sum() does not accept"),
    ],
)
def test_placeholders_that_never_find_a_value(line: str, text: str, suggestion: str) -> None:
    (found,) = findings(route("ModelRegistered", line))
    assert (found.line, found.rule, found.text) == (7, PARKS, text)
    assert suggestion in found.suggestion


class TestPairs:
    @pytest.mark.parametrize(
        ("first", "second", "line", "rule"),
        [
            ([], [], 7, Rule.SHADOWED),
            (["when: run_id == 'x'"], [], 4, Rule.SHADOWED),
            ([], ["when: run_id == 'x'"], 7, Rule.SHADOWED),
            (["when: run_id == 'x'"], ["when: run_id == 'x'"], 8, Rule.SHADOWED),
            (["when: run_id == 'x' || run_id == 'y'"], ["when: run_id == 'x'"], 8, Rule.SHADOWED),
            (["when: run_id == 'x'"], ["when: run_type == 'x'"], 8, Rule.OVERLAP),
            (["when: contains(run_id, 'x')"], ["when: run_id == 'x'"], 8, Rule.OVERLAP),
            ([], ["include_child_runs: true"], 4, Rule.SHADOWED),
            (["when: run_id == 'x'"], ["include_child_runs: true", "when: run_id == 'x'"], 4, Rule.SHADOWED),
            (["parameters: { a: '{{ run_id }}' }"], ["parameters: { a: '{{ root_run_id }}' }"], 8, Rule.SHADOWED),
            (["when: run_id == 'x'"], ["when: nope"], 11, Rule.INVALID),
        ],
    )
    def test_two_that_request_the_same_run(self, first: list[str], second: list[str], line: int, rule: Rule) -> None:
        (found,) = findings(route("RunCompleted", *first), route("RunCompleted", *second, name="b"))
        text, other = ("a", "'b' (line ") if line == 4 else ("b", "'a' (line 4)")
        assert (found.line, found.rule) == (line, rule)
        assert rule is Rule.INVALID or (found.text == text and other in found.message)

    def test_keys_of_tags_in_two_spellings_may_be_one_key(self) -> None:
        entries = [route("RunCompleted", f"when: run_tags.{key} == 'x'", name=key) for key in ("Team", "team")]
        assert [found.rule for found in findings(*entries)] == [Rule.OVERLAP]

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            (["when: run_id == 'x'"], ["when: run_id == 'y'"]),
            (["when: run_id == 'x'"], ["when: run_id != 'x'"]),
            ([], ["branch: dev"]),
            ([], ["project: other"]),
            ([], ["stages_to_skip: [a]"]),
            (["enabled: false"], []),
            (["parameters: { stage: test }"], ["parameters: { stage: production }"]),
            (["variables: { stage: test }"], ["variables: { stage: production }"]),
        ],
    )
    def test_two_that_request_different_runs(self, first: list[str], second: list[str]) -> None:
        others = route("RunStatusChanged", name="c", pipeline="r"), route("RunCompleted", name="d", pipeline="q")
        assert brief(route("RunCompleted", *first), route("RunCompleted", *second, name="b"), *others) == []

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            ([], []),
            (["parameters: { id: '{{ run_id }}' }"], ["parameters: { ID: '{{ root_run_id }}' }"]),
            (["parameters: { id: '{{ run_id }}' }"], ["parameters: { id: '{{ run_id }}', b: x }"]),
            (["parameters: { id: run-1, b: x }"], ["parameters: { id: 'run-{{ run_id }}' }"]),
            (["variables: { id: '{{ run_id }}' }", "branch: main"], ["variables: { id: '{{ run_id }}' }"]),
        ],
    )
    def test_runs_for_two_events_that_may_be_confused(self, first: list[str], second: list[str]) -> None:
        """Found by an experiment: after a lost answer, one route adopted the run of the other, and a run was lost."""
        entries = route("RunCompleted", *first), route("RunStatusChanged", *second, name="b")
        (found,) = findings(*entries)
        line = len(first) + 7
        assert (found.line, found.rule, found.text, found.severity) == (line, Rule.AMBIGUOUS, "b", Severity.WARNING)
        assert "with the same values as 'a' (line 4), so after a lost answer" in found.message
        assert found.suggestion == "set a correlation_parameter on both, or a parameter that differs"
        assert findings(f"{entries[0]}\ncorrelation_parameter: key", entries[1]) == []
        assert findings(entries[0], f"{entries[1]}\ncorrelation_parameter: key") == []

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            (["parameters: { id: '{{ run_id }}' }"], ["parameters: { other: '{{ run_id }}' }"]),
            (["parameters: { id: '{{ run_id }}' }"], ["variables: { id: '{{ run_id }}' }"]),
            (["parameters: { id: 'a {{ run_id }}' }"], ["parameters: { id: 'b {{ run_id }}' }"]),
            (["parameters: { id: '{{ run_id }} a' }"], ["parameters: { id: '{{ run_id }} b' }"]),
            (["parameters: { id: a }"], ["parameters: { id: A, b: '{{ run_id }}' }"]),
            (["branch: main"], ["branch: dev"]),
            (["enabled: false"], []),
        ],
    )
    def test_runs_for_two_events_that_differ(self, first: list[str], second: list[str]) -> None:
        assert brief(route("RunCompleted", *first), route("RunStatusChanged", *second, name="b")) == []


class TestPipelineFiles:
    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        (tmp_path / "pipelines").mkdir()
        (tmp_path / "pipelines" / "p.yml").write_text(
            "parameters:\n"
            "  - { name: runId, type: string }\n"
            "  - { name: stage, type: string, default: test, values: [test, production] }\n"
            "  - { name: count, type: number, default: 1 }\n"
            "  - { name: more, type: stepList, default: [] }\n"
        )
        return tmp_path / "routes.yaml"

    @pytest.mark.parametrize(
        ("lines", "expected"),
        [
            (["parameters: { runId: '{{ run_id }}' }"], []),
            (["parameters: { RUNID: '{{ run_id }}', stage: production, count: 2 }"], []),
            (["correlation_parameter: runId"], []),
            (["parameters: { runId: x, runid2: y }"], [(7, Rule.UNDECLARED_PARAMETER, "runid2")]),
            ([], [(4, Rule.MISSING_PARAMETER, "runId")]),
            (["parameters: { runId: x, stage: dev }"], [(7, Rule.PARAMETER_VALUE, "stage: dev")]),
            (["parameters: { runId: x, stage: '{{ run_id }}' }"], []),
            (["parameters: { runId: x, stage: '${STAGE}' }"], [(7, Rule.UNSET_ENVIRONMENT, "'${STAGE}'")]),
            (["parameters: { runId: x, count: many }"], [(7, Rule.PARAMETER_VALUE, "count: many")]),
            (["parameters: { runId: x, more: '- script: x' }"], []),
            (["parameters: { runId: x, more: '[{script: \"{{ run_id }}\"}]' }"], []),
            (["parameters: { runId: x, more: [{ script: '{{ run_id }}' }] }"], []),
            (["parameters: { runId: x, count: [1] }"], [(7, Rule.PARAMETER_VALUE, "count: [1]")]),
            (
                ["parameters: { runId: x, count: ['{{ run_id }}'] }"],
                [(7, Rule.PARAMETER_VALUE, 'count: ["{{ run_id }}"]')],
            ),
            (["parameters: { runId: '[{{ run_id }}] x' }"], []),
            (["parameters: { runId: x, more: '{{ run_id }}' }"], [(7, Rule.YAML_VALUE, "more: {{ run_id }}")]),
            (["parameters: { runId: x, more: '[{{ run_id }}]' }"], [(7, Rule.YAML_VALUE, "more: [{{ run_id }}]")]),
            (["parameters: { runId: x }", "correlation_parameter: key"], [(8, Rule.UNDECLARED_PARAMETER, "key")]),
        ],
    )
    def test_parameters(self, file: Path, lines: list[str], expected: list[tuple[int, Rule, str]]) -> None:
        assert brief(route("RunCompleted", *lines), file=file) == expected
        assert brief(route("RunCompleted", *lines, pipeline="\\folder\\p"), file=file) == expected

    def test_a_value_that_is_parsed_is_an_error_if_the_type_is_known(self, file: Path) -> None:
        """Found by a security test: the value '- script: curl …' passes the default pattern and becomes a step."""
        entry = route("ModelRegistered", "parameters: { runId: x, more: '- script: {{ model_name }}' }")
        (found,) = findings(entry, file=file)
        assert (found.severity, found.column) == (Severity.ERROR, 29)
        assert found.message == (
            "pipelines/p.yml declares the type stepList, so the value of a placeholder is parsed as YAML"
        )
        assert found.suggestion.startswith("put each placeholder in double quotes, as in [{")
        (found,) = findings(entry)
        assert (found.severity, found.rule) == (Severity.WARNING, Rule.YAML_VALUE), "the type is not known"
        assert findings(entry.replace("'- script: {{ model_name }}'", "'{{ model_name }}'")) == []

    def test_declared_parameters_are_suggested(self, file: Path) -> None:
        for name, suggestion in {"runid2": "did you mean 'runId'?", "key": "known: count, more, runId, stage"}.items():
            (found,) = findings(route("RunCompleted", f"parameters: {{ runId: x, {name}: y }}"), file=file)
            assert found.suggestion == suggestion

    def test_other_files(self, file: Path) -> None:
        """Without a file there are no findings. A file that is not a pipeline gives one finding for each route."""
        for pipeline in ("other", "42"):
            assert brief(route("RunCompleted", "parameters: { x: y }", pipeline=pipeline), file=file) == []
        for text, rule, suggestion in (
            ("steps: []", Rule.UNDECLARED_PARAMETER, "it declares none"),
            ("[1]", Rule.PIPELINE_FILE, ""),
        ):
            (file.parent / "pipelines" / "p.yml").write_text(text)
            (found,) = findings(route("RunCompleted", "parameters: { x: y }"), file=file)
            assert (found.rule, suggestion in found.suggestion) == (rule, True)


class TestChain:
    def test_a_loop_without_a_cooldown(self) -> None:
        (found,) = findings(
            route("RunCompleted", "causes: [ModelRegistered]"),
            route("ModelRegistered", "causes: [RunCompleted]", name="b", pipeline="q"),
        )
        assert (found.line, found.rule, found.text) == (7, Rule.LOOP, "a")
        assert "a -> b -> a" in found.message

    def test_a_value_that_an_event_never_has(self) -> None:
        causes = (
            "causes: [{ event: RunStatusChanged, with: { run_status: Running, experiment_name: x, run_tags.a: 1 } }, "
            "{ event: Microsoft.Storage.BlobCreated, with: { extension: .csv, folder: landing } }, "
            "{ event: Microsoft.Storage.BlobCreated, with: { container: / } }]"
        )
        assert [(found.rule, found.text, found.suggestion) for found in findings(route("RunCompleted", causes))] == [
            (Rule.CAUSE_VALUE, "container: /", ""),
            (Rule.CAUSE_VALUE, "extension: .csv", "write 'csv'"),
            (Rule.CAUSE_VALUE, "run_status: Running", ""),
            (Rule.CAUSE_VALUE, "run_tags.a: 1", "it is a string; put the value in quotes"),
        ]


def test_findings_are_in_the_files_order_and_errors_do_not_hide_warnings() -> None:
    found = findings(
        route("RunCompleted", "when: run_id == ''"),
        route("RunCompletd", name="b"),
        route("ModelRegistered", "when: nope", name="c"),
    )
    assert [(each.line, each.severity, each.rule) for each in found] == [
        (7, Severity.WARNING, NEVER),
        (9, Severity.ERROR, Rule.INVALID),
        (14, Severity.ERROR, Rule.INVALID),
    ]
