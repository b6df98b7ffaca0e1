"""What may be queued and what is refused, with the reason; nothing refused is ever queued."""

from __future__ import annotations

import pytest

from tests.support.emulator import PLAIN_RUN, PROJECT, RUNS, Ado

INVALID = "PipelineValidationException"
UNREADABLE = "VssPropertyValidationException"


@pytest.fixture
def ado() -> Ado:
    return Ado()


def _with(**parameters: object) -> dict[str, object]:
    return {"templateParameters": {"runId": "brave_fig", **parameters}}


@pytest.mark.parametrize(
    ("body", "key", "message"),
    [
        ({}, INVALID, "/everything.yml: A value for the 'runId' parameter must be provided."),
        (_with(colour="red"), INVALID, "/everything.yml: Unexpected parameter 'colour'"),
        (
            _with(environment="moon"),
            INVALID,
            (
                "/everything.yml: The value of the 'environment' parameter is not allowed. "
                "Allowed values: test, production."
            ),
        ),
        (
            _with(replicas="many"),
            INVALID,
            "/everything.yml: The value of the 'replicas' parameter is not a valid number.",
        ),
        (
            _with(replicas="3"),
            INVALID,
            "/everything.yml: The value of the 'replicas' parameter is not allowed. Allowed values: 1, 2, 2.5.",
        ),
        (_with(force="maybe"), INVALID, "/everything.yml: The value of the 'force' parameter is not a valid boolean."),
        (
            _with(consent="false"),
            INVALID,
            "/everything.yml: The value of the 'consent' parameter is not allowed. Allowed values: true.",
        ),
        (_with(options="{"), INVALID, "/everything.yml: The value of the 'options' parameter is not a valid object."),
        (
            _with(regions="[west, {}]"),
            INVALID,
            "/everything.yml: The value of the 'regions' parameter is not a valid stringList.",
        ),
        (
            _with(regions="["),
            INVALID,
            "/everything.yml: The value of the 'regions' parameter is not a valid stringList.",
        ),
        (
            _with(regions="[west, north]"),
            INVALID,
            "/everything.yml: The value of the 'regions' parameter is not allowed. Allowed values: west, east.",
        ),
        (
            {"templateParameters": {"colour": "red", "force": "maybe"}},
            INVALID,
            (
                "/everything.yml: Unexpected parameter 'colour'\n"
                "/everything.yml: A value for the 'runId' parameter must be provided.\n"
                "/everything.yml: The value of the 'force' parameter is not a valid boolean."
            ),
        ),
        (_with(runId=7), UNREADABLE, "The value of templateParameters.runId must be a string."),
        (_with(runId=None), UNREADABLE, "The value of templateParameters.runId must be a string."),
        ({"templateParameters": []}, UNREADABLE, "templateParameters must be an object."),
    ],
)
def test_template_parameters(ado: Ado, body: dict[str, object], key: str, message: str) -> None:
    assert ado.refused(400, key, "POST", RUNS, body) == message
    assert ado.emulator.books.runs == ()


@pytest.mark.parametrize(
    ("parameters", "name", "value"),
    [
        ({"environment": "production"}, "environment", "production"),
        ({"replicas": "2.0"}, "replicas", "2.0"),
        ({"force": "TRUE"}, "force", "TRUE"),
        ({"consent": "True"}, "consent", "True"),
        ({"options": "{a: [1, 2]}"}, "options", "{a: [1, 2]}"),
        ({"regions": '["east", "west"]'}, "regions", '["east", "west"]'),
    ],
)
def test_typed_values_are_taken_as_they_were_sent(ado: Ado, parameters: dict[str, str], name: str, value: str) -> None:
    assert ado.run(_with(**parameters))["templateParameters"][name] == value


@pytest.mark.parametrize(
    ("more", "key", "message"),
    [
        (
            {"variables": {"pool": {"value": "big"}, "other": {"value": "x"}}},
            INVALID,
            "You can't set the following variables (pool, other). ",
        ),
        ({"variables": {"system.debug": "true"}}, UNREADABLE, "variables.system.debug must be an object"),
        ({"variables": {"system.debug": {"value": 1}}}, UNREADABLE, "value must be a string."),
        (
            {"variables": {"system.debug": {"isSecret": "no"}}},
            UNREADABLE,
            "variables.system.debug.isSecret must be a boolean.",
        ),
        ({"variables": ["system.debug"]}, UNREADABLE, "variables must be an object."),
        (
            {"resources": {"repositories": {"self": {"refName": "refs/heads/nope"}}}},
            INVALID,
            "The latest version of refs/heads/nope could not be found in repository mlops. ",
        ),
        (
            {"resources": {"repositories": {"self": {"refName": "main"}}}},
            INVALID,
            "The latest version of main could not be found",
        ),
        (
            {"resources": {"repositories": {"self": {"version": "HEAD"}}}},
            INVALID,
            "Commit HEAD could not be found on refs/heads/main.",
        ),
        (
            {"resources": {"repositories": {"tools": {}}, "pipelines": {"upstream": {}}}},
            INVALID,
            "The pipeline has no resource repositories.tools, pipelines.upstream.",
        ),
        ({"resources": {"repositories": {"self": "main"}}}, UNREADABLE, "self must be an object."),
        ({"stagesToSkip": ["deploy", "moon"]}, INVALID, "Stages to skip that the pipeline does not have: moon."),
        ({"stagesToSkip": "deploy"}, UNREADABLE, "stagesToSkip must be a list of strings."),
        ({"stagesToSkip": [1]}, UNREADABLE, "stagesToSkip must be a list of strings."),
        ({"previewRun": "yes"}, UNREADABLE, "previewRun must be a boolean."),
        ({"yamlOverride": {}}, UNREADABLE, "yamlOverride must be a string."),
    ],
)
def test_the_rest_of_a_run_request(ado: Ado, more: dict[str, object], key: str, message: str) -> None:
    assert ado.refused(400, key, "POST", RUNS, {**PLAIN_RUN, **more}).startswith(message)
    assert ado.emulator.books.runs == ()


def test_a_disabled_pipeline(ado: Ado) -> None:
    message = ado.refused(400, INVALID, "POST", f"{PROJECT}/pipelines/2/runs", {})

    assert message == "Pipeline disabled is disabled: no run can be queued."
    assert ado.emulator.books.runs == ()


@pytest.mark.parametrize("path", ["runs", "preview"])
def test_a_pipeline_that_may_not_be_queued(ado: Ado, path: str) -> None:
    message = ado.refused(403, "AccessDeniedException", "POST", f"{PROJECT}/pipelines/3/{path}", {})

    assert message.startswith("TF215106: Access denied. ")
    assert "build pipeline 3:forbidden in team project mlops" in message
    assert ado.emulator.books.runs == ()


@pytest.mark.parametrize("data", ["", "{", "[]", '"text"', "null", "\udcff".encode("utf-8", "surrogateescape")])
def test_a_body_that_is_no_object(ado: Ado, data: str | bytes) -> None:
    message = ado.refused(400, UNREADABLE, "POST", RUNS, data=data)

    assert message in {"The body of the request is not JSON.", "The body of the request must be a JSON object."}
    assert ado.emulator.books.runs == ()


def test_another_content_type(ado: Ado) -> None:
    message = ado.refused(
        415,
        "VssRequestContentTypeNotSupportedException",
        "POST",
        RUNS,
        PLAIN_RUN,
        headers={"Content-Type": "text/plain"},
    )

    assert '"text/plain"' in message


def test_keys_that_the_service_does_not_know_are_ignored(ado: Ado) -> None:
    run = ado.good("ado_run", "POST", RUNS, {**PLAIN_RUN, "colour": "red"})

    assert "colour" not in run
