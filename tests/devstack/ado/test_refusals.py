"""The refusals of the Pipelines, Build and control APIs. A refused request changes nothing."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any, get_args
from urllib.parse import parse_qsl

import pytest

from devstack.ado.runs.behavior import Behavior, Idempotency, ParameterForm
from devstack.ado.runs.parameters import _CHECKS
from devstack.ado.runs.records import RunReason, RunResult
from devstack.ado.schemas import _SCHEMAS
from devstack.ado.tasks.records import EarlyEvents, PlanResult, TaskResult
from tests.support.services.emulator import PROJECT, RUNS, Ado
from tests.support.services.tasks import OTHER_GUID

BUILDS = f"{PROJECT}/build/builds"
PIPELINES = f"{PROJECT}/pipelines"
BEHAVIOR, FAULTS, JOBS, TASKS = (f"/_emulator/{name}" for name in ("behavior", "faults", "jobs", "tasks"))
WORKSPACE = "/subscriptions/s-1/resourceGroups/rg/providers/Microsoft.MachineLearningServices/workspaces/ml"
JOB = {"workspace": WORKSPACE, "name": "brave_fig", "status": "Running"}

INVALID = 400, "PipelineValidationException"
UNREADABLE = 400, "VssPropertyValidationException"
NO_VERSION = 400, "VssVersionNotSpecifiedException"
NO_ADDRESS = 404, "ResourceNotFoundException"
NO_PROJECT = 404, "ProjectDoesNotExistWithNameException"
NO_PIPELINE = 404, "PipelineNotFoundException"
NO_RUN = 404, "RunNotFoundException"
NO_BUILD = 404, "BuildNotFoundException"
NO_TASK = 404, "TaskNotFoundException"
NO_PLAN = 404, "TaskOrchestrationPlanNotFoundException"
DISABLED = 500, "DefinitionDisabledException"
FORBIDDEN = 403, "AccessDeniedException"

Case = tuple[str, str, object, tuple[int, str], str]
"""Method, path with query, body, status and type of the error, and the beginning of its message."""

OF_A_BUILD: list[tuple[str, str, object]] = [
    ("GET", "", None),
    ("PATCH", "", {"status": "cancelling"}),
    ("GET", "/tags", None),
    ("GET", "/timeline", None),
    ("POST", "/tags", ["a"]),
]
ADDRESSES: list[Case] = [
    *[("GET", path, None, NO_ADDRESS, "") for path in ("/", "/contoso", f"{PROJECT}/git/repositories")],
    ("GET", f"{PIPELINES}/one/runs", None, NO_ADDRESS, ""),
    ("GET", "/_emulator/nothing", None, NO_ADDRESS, ""),
    ("OPTIONS", "/unknown/_apis", None, NO_PROJECT, "TF200016: "),
    ("GET", "/contoso/no/_apis/pipelines", None, NO_PROJECT, "TF200016: The project no does not exist in the org"),
    ("GET", "/no/mlops/_apis/build/builds", None, NO_PROJECT, "TF200016: The project mlops does not exist in the org"),
    *[
        ("GET", f"{PIPELINES}/{path}", None, NO_PIPELINE, "The pipeline '99' does not exist")
        for path in ("99", "99/runs/501")
    ],
    ("GET", f"{PIPELINES}/1?pipelineVersion=4", None, NO_PIPELINE, "Version 4 of pipeline '1' does not exist"),
    ("POST", f"{PIPELINES}/99/runs", {}, NO_PIPELINE, "The pipeline '99' does not exist"),
    ("POST", f"{PIPELINES}/99/preview", {}, (500, NO_PIPELINE[1]), "The pipeline '99' does not exist"),
    ("GET", f"{PIPELINES}/1/runs/503", None, NO_RUN, "Run 503 could not be found."),
    ("GET", f"{PIPELINES}/4/runs/501", None, NO_RUN, "Run 501 could not be found."),
    *[
        (method, f"{BUILDS}/999{path}", body, NO_BUILD, "The requested build 999 could not be found.")
        for method, path, body in OF_A_BUILD
    ],
]

VERSIONS: list[Case] = [
    *[
        ("POST", f"{RUNS}?api-version={version}", {}, (400, key), "")
        for version, key in (
            ("7.2", "VssInvalidPreviewVersionException"),
            ("7.3-preview", "VssVersionOutOfRangeException"),
            ("0.9", "VssVersionOutOfRangeException"),
            ("latest", "VssVersionOutOfRangeException"),
        )
    ],
    (
        *("GET", "/contoso/_apis/connectionData?api-version=7.1", None, (400, "VssInvalidPreviewVersionException")),
        'The requested version "7.1" of the resource is under preview.',
    ),
    *[
        (method, f"{path}?api-version=+", {}, NO_VERSION, f'No api-version was supplied for the "{method}" request.')
        for method, path in (
            ("POST", RUNS),
            ("PATCH", f"{BUILDS}/502"),
        )
    ],
]
LISTS: list[Case] = [
    ("GET", f"{path}?{query}", None, UNREADABLE, message)
    for path, query, message in (
        (PIPELINES, "$top=0", "The query parameter $top must be a whole number of at least 1."),
        (PIPELINES, "continuationToken=-1", "The continuation token was not issued by this server."),
        (PIPELINES, "orderBy=id asc", "The emulator does not support orderBy."),
        (BUILDS, "definitions=evaluation", "The query parameter definitions must be a comma-separated list of IDs."),
        (BUILDS, "minTime=yesterday", "minTime must be a time such as 2026-08-12T08:26:45Z."),
        (BUILDS, "queryOrder=name", "queryOrder must be one of finishTime, queueTime, startTime, "),
        (BUILDS, "continuationToken=%%%", "The continuation token was not issued by this server."),
        (BUILDS, "continuationToken=bm8=", "The continuation token was not issued by this server."),
        (BUILDS, "buildNumber=1", "The emulator does not support the filter buildNumber."),
        (BUILDS, "statusFilter=all", "The emulator does not support the filter statusFilter."),
    )
]

CHANGES: list[Case] = [
    *[
        ("PATCH", f"{BUILDS}/{build_id}", body, (400, key), message)
        for build_id, body, key, message in (
            (501, {"status": "cancelling"}, "BuildStatusInvalidChangeException", "The status of build 501 cannot be "),
            (502, {"status": "completed"}, UNREADABLE[1], 'The emulator supports only the change {"status": "cancel'),
            (502, {"status": "cancelling", "quality": "x"}, UNREADABLE[1], "The emulator supports only"),
            (502, [], UNREADABLE[1], "The body of the request must be a JSON object."),
        )
    ],
    *[("POST", f"{BUILDS}/501/tags", body, UNREADABLE, "") for body in ("a", [1], [" "])],
]


def _run(more: dict[str, Any], **parameters: object) -> dict[str, Any]:
    return {"templateParameters": {"runId": "brave_fig", **parameters}, **more}


def _value(name: str, text: str) -> str:
    return f"/everything.yml: The value of the '{name}' parameter is not {text}"


BAD = "body: "
RUN_REQUESTS: list[Case] = [
    *[
        ("POST", RUNS, _run({}, **{name: value}), INVALID, _value(name, text))
        for name, value, text in (
            ("environment", "moon", "allowed. Allowed values: test, production."),
            ("replicas", "many", "a valid number."),
            ("replicas", "3", "allowed. Allowed values: 1, 2, 2.5."),
            ("force", "maybe", "a valid boolean."),
            ("consent", "false", "allowed. Allowed values: true."),
            ("options", "{", "a valid object."),
            ("regions", "[west, {}]", "a valid stringList."),
            ("regions", "[", "a valid stringList."),
            ("regions", "[west, north]", "allowed. Allowed values: west, east."),
        )
    ],
    *[("POST", RUNS, _run({}, runId=value), UNREADABLE, f"{BAD}templateParameters.runId: ") for value in (7, None)],
    (
        *("POST", RUNS, {"templateParameters": {"shade": "red", "force": "maybe"}}, INVALID),
        (
            "Unexpected parameter 'shade'\n"
            "A value for the 'runId' parameter must be provided.\n"
            "/everything.yml: The value of the 'force' parameter is not a valid boolean."
        ),
    ),
    *[
        ("POST", RUNS, _run({key: value}), kind, message)
        for key, value, kind, message in (
            ("templateParameters", [], UNREADABLE, f"{BAD}templateParameters: [] is not of type "),
            (
                *("variables", {"pool": {"value": "big"}, "other": {"value": "x"}}, INVALID),
                "You can't set the following variables (pool, other). ",
            ),
            ("variables", {"system.debug": "true"}, UNREADABLE, f"{BAD}variables['system.debug']: 'true' is not of "),
            (
                *("resources", {"repositories": {"tools": {}}, "pipelines": {"upstream": {}}}, INVALID),
                "The pipeline has no resource repositories.tools, pipelines.upstream.",
            ),
            ("resources", {"repositories": {"self": "main"}}, UNREADABLE, f"{BAD}resources.repositories.self: "),
            ("stagesToSkip", ["deploy", "moon"], INVALID, "Stages to skip that the pipeline does not have: moon."),
            ("stagesToSkip", "deploy", UNREADABLE, f"{BAD}stagesToSkip: "),
            ("previewRun", "yes", UNREADABLE, f"{BAD}previewRun: "),
            ("yamlOverride", "steps: []", UNREADABLE, ""),
        )
    ],
    *[
        ("POST", RUNS, _run({"resources": {"repositories": {"self": repository}}}), INVALID, message)
        for repository, message in (
            ({"refName": "refs/heads/nope"}, "The latest version of refs/heads/nope could not be found in repository "),
            ({"refName": "main"}, "The latest version of main could not be found"),
            ({"version": "HEAD"}, "Commit HEAD could not be found on refs/heads/main."),
        )
    ],
    (
        *("POST", f"{PIPELINES}/1/preview", {}, INVALID),
        "A value for the 'runId' parameter must be provided.",
    ),
    *[
        ("POST", f"{PIPELINES}/2/{path}", {}, DISABLED, "No run of pipeline disabled in project mlops can be queued, ")
        for path in ("runs", "preview")
    ],
    ("POST", f"{PIPELINES}/3/runs", {}, FORBIDDEN, "TF215106: Access denied. devstack needs Queue builds permissions "),
]

CONTROL: list[Case] = [
    ("POST", "/_emulator/outage", {"seconds": -1}, UNREADABLE, f"{BAD}seconds: -1 is less than the minimum"),
    ("POST", "/_emulator/restart", {"first_run_id": 0}, UNREADABLE, f"{BAD}first_run_id: 0 is less than the minimum"),
    ("POST", "/_emulator/runs", {"pipeline": 99}, NO_PIPELINE, ""),
    ("POST", "/_emulator/runs", {"pipeline": 1}, INVALID, ""),
    (
        "POST",
        "/_emulator/runs",
        {"pipeline": 4, "by": "Ada"},
        UNREADABLE,
        f"{BAD}(top level): Unevaluated prop",
    ),
    ("POST", "/_emulator/runs", {"pipeline": 4, "reason": "x"}, UNREADABLE, f"{BAD}reason: 'x' is not one of"),
    ("POST", "/_emulator/runs/503", {"result": "failed"}, NO_RUN, ""),
    ("POST", "/_emulator/runs/501", {"result": "succeeded"}, (409, "RunEndedException"), "Run 501 has already ended"),
    ("POST", "/_emulator/runs/502", {"result": "good"}, UNREADABLE, f"{BAD}result: 'good' is not one of"),
    ("GET", f"{TASKS}/{OTHER_GUID}", None, NO_TASK, ""),
    ("POST", f"{TASKS}/{OTHER_GUID}", {"timedOut": True}, NO_TASK, ""),
    ("POST", f"{TASKS}/{OTHER_GUID}", {"timedOut": False}, UNREADABLE, ""),
    ("POST", f"/_emulator/plans/{OTHER_GUID}", {"result": "failed"}, NO_PLAN, ""),
    ("DELETE", f"/_emulator/plans/{OTHER_GUID}/token", None, NO_PLAN, ""),
    *[
        ("POST", f"/_emulator/plans/{OTHER_GUID}", body, UNREADABLE, f"{BAD}{message}")
        for body, message in (
            ({"result": "skipped"}, "result: 'skipped' is not one of ['succeeded', 'failed', 'canceled']"),
            ({"result": "failed", "status": 200}, "status: 200 is not one of [404, 410]"),
        )
    ],
    *[
        ("POST", TASKS, body, UNREADABLE, message)
        for body, message in (
            ({"task": "PowerShell@2"}, f"{BAD}task: 'PowerShell@2' is not one of ['AzureFunction@1', "),
            ({"inputs": {}}, f"{BAD}inputs: 'function' is a required property"),
            ({"inputs": {"function": "/x"}}, "function: must be an http or https URL"),
            ({"task": "InvokeRESTAPI@1", "inputs": {}}, f"{BAD}inputs: 'serviceConnection' is a required property"),
            (
                {"task": "AzureMLJobWaitTask@1", "inputs": {"serviceConnection": {"url": "/"}}},
                f"{BAD}inputs: 'job' is a",
            ),
        )
    ],
    *[
        ("POST", JOBS, {**JOB, **change}, UNREADABLE, message)
        for change, message in (
            ({"status": "completed"}, "status must be one of NotStarted, "),
            ({"workspace": "ml"}, "workspace must be the resource ID of an Azure ML workspace, got 'ml'"),
            ({"name": "a/b"}, "name must be a job name without a slash, got 'a/b'"),
        )
    ],
]

BAD_BEHAVIOR: list[Case] = [
    ("POST", BEHAVIOR, document, UNREADABLE, message)
    for document, message in (
        ([], "(top level): [] is not of type 'object'"),
        ({"idempotency": True}, "idempotency: True is not one of ['honored', 'ignored']"),
        ({"parameters": "late"}, "parameters: 'late' is not one of ['sent', 'reformatted', 'null']"),
        ({"list_lag_seconds": -1}, "list_lag_seconds: -1 is less than the minimum of 0"),
        ({"lag": 1}, "(top level): Additional properties are not allowed ('lag' was unexpected)"),
    )
]
_FAULT: dict[str, Any] = {"accept": True}
BAD_FAULTS: list[Case] = [
    ("POST", FAULTS, document, UNREADABLE, message)
    for document, message in (
        ({}, "(top level): {} is not of type 'array'"),
        ([_FAULT, {"accept": "yes"}], "[1].accept: 'yes' is not of type 'boolean'"),
        ([{**_FAULT, "delay": 1}], "[0]: Additional properties are not allowed ('delay' was unexpected)"),
        ([{**_FAULT, "drop": True, "status": 500}], "[0] drop: a dropped connection has no status, headers or body"),
        ([{"accept": False}], "[0] accept: a request that is not carried out has no real answer; set status, body or "),
        ([{**_FAULT, "headers": {"a b": "x"}}], "[0].headers: 'a b' does not match"),
        ([{**_FAULT, "headers": {"X": "a\r\nb"}}], "[0].headers.X: 'a\\r\\nb' does not match"),
        ([{**_FAULT, "match": {"path": "("}}], "[0] match.path: must be a regular expression, got '(': "),
        ([{**_FAULT, "behavior": {"parameters": "late"}}], "[0].behavior.parameters: 'late' is not one of"),
        ([{**_FAULT, "behavior": {"clock_offset_seconds": 1}}], "[0].behavior: 'clock_offset_seconds' does not"),
        ([{**_FAULT, "delay_after_seconds": math.nan}], "The body of the request is not JSON."),
    )
]


@pytest.fixture(scope="module")
def ado() -> Ado:
    """An emulator with two runs: 501 has failed, 502 is in progress."""
    ado = Ado()
    ado.run()
    ado.run()
    ado.emulator.finish_run(501, "failed")
    return ado


@pytest.mark.parametrize(
    "case", [*ADDRESSES, *VERSIONS, *LISTS, *CHANGES, *RUN_REQUESTS, *CONTROL, *BAD_BEHAVIOR, *BAD_FAULTS], ids=str
)
def test_refused(ado: Ado, case: Case) -> None:
    method, path, body, (status, key), message = case
    path, _, query = path.partition("?")
    books = ado.emulator.books
    before = books.runs, books.tasks, books.jobs.all, ado.emulator.faults.pending

    assert ado.refused(status, key, method, path, body, query=dict(parse_qsl(query))).startswith(message)

    assert (books.runs, books.tasks, books.jobs.all, ado.emulator.faults.pending) == before


@pytest.mark.parametrize("data", ["", "{", "[]", '"text"', "null", b"\xff"])
def test_a_body_that_is_not_an_object(ado: Ado, data: str | bytes) -> None:
    message = ado.refused(*UNREADABLE, "POST", RUNS, data=data)

    assert message in {"The body of the request is not JSON.", "The body of the request must be a JSON object."}


def test_another_content_type(ado: Ado) -> None:
    key, headers = "VssRequestContentTypeNotSupportedException", {"Content-Type": "text/plain"}

    assert '"text/plain"' in ado.refused(415, key, "POST", RUNS, _run({}), headers=headers)
    assert len(ado.emulator.books.runs) == 2


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("environment", "production"),
        ("replicas", "2.0"),
        ("force", "TRUE"),
        ("consent", "True"),
        ("options", "{a: [1, 2]}"),
        ("regions", '["east", "west"]'),
    ],
)
def test_typed_values_are_accepted_unchanged(name: str, value: str) -> None:
    run = Ado().good("ado_run", "POST", RUNS, _run({"shade": "an unknown key is ignored"}, **{name: value}))

    assert run["templateParameters"][name] == value
    assert "shade" not in run


def test_the_schemas_list_the_same_values_as_the_types() -> None:
    schemas = _SCHEMAS["$defs"]
    assert tuple(schemas["task_result"]["enum"]) == get_args(TaskResult)
    assert tuple(schemas["early_events"]["enum"]) == get_args(EarlyEvents)
    switches = schemas["behavior"]["properties"]
    assert set(switches) == {field.name for field in fields(Behavior)}
    assert tuple(switches["idempotency"]["enum"]) == get_args(Idempotency)
    assert tuple(switches["parameters"]["enum"]) == get_args(ParameterForm)
    assert tuple(schemas["foreign_run"]["properties"]["reason"]["enum"]) == get_args(RunReason)
    assert tuple(schemas["run_end"]["properties"]["result"]["enum"]) == get_args(RunResult)
    assert set(schemas["plan_end"]["properties"]["result"]["enum"]) == set(get_args(PlanResult))
    parameter = schemas["pipeline"]["properties"]["parameters"]["items"]
    assert parameter["properties"]["type"]["enum"] == list(_CHECKS)
