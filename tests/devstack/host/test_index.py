"""The host indexes a function app, and refuses what the worker would not load."""

from pathlib import Path

import pytest

from devstack.host import Host, HostSettings
from devstack.host.errors import IndexingFailed
from devstack.host.index import find_app, index_app
from tests.support.services.host_apps import import_app

EVERY_TRIGGER = """
@app.event_grid_trigger(arg_name="event")
def aml_event(event: str) -> None: ...

@app.function_name("nightly")
@app.timer_trigger(arg_name="timer", schedule="0 0 0 * * *")
async def on_timer(timer: func.TimerRequest, context: func.Context) -> None: ...

@app.route("runs/{id}", methods=["GET", "DELETE"])
def run(req: func.HttpRequest) -> func.HttpResponse: ...

@app.route()
def anything(req: func.HttpRequest) -> str: ...
"""


def test_functions_are_indexed_with_their_triggers(tmp_path: Path) -> None:
    functions = index_app(find_app(import_app(tmp_path, EVERY_TRIGGER)))

    assert [(f.name, f.trigger_type, f.trigger_parameter, f.trigger_converter) for f in functions] == [
        ("aml_event", "eventGridTrigger", "event", "generic"),
        ("nightly", "timerTrigger", "timer", "timerTrigger"),
        ("run", "httpTrigger", "req", "httpTrigger"),
        ("anything", "httpTrigger", "req", "httpTrigger"),
    ]
    assert [f.is_async for f in functions] == [False, True, False, False]
    assert [f.requires_context for f in functions] == [False, True, False, False]
    assert [f.has_return for f in functions] == [False, False, True, True]
    assert [f.returns_http for f in functions] == [False, False, True, True]


def test_functions_are_described_by_their_urls(tmp_path: Path) -> None:
    host = Host(import_app(tmp_path, EVERY_TRIGGER), settings=HostSettings(route_prefix="v1"))
    try:
        lines = [host.describe(function, "http://127.0.0.1:7071") for function in host.functions]
    finally:
        host.close()

    assert lines == [
        "aml_event: eventGridTrigger http://127.0.0.1:7071/runtime/webhooks/eventgrid?functionName=aml_event",
        "nightly: timerTrigger http://127.0.0.1:7071/admin/functions/nightly (POST, manual call)",
        "run: httpTrigger http://127.0.0.1:7071/v1/runs/{id} (DELETE, GET)",
        "anything: httpTrigger http://127.0.0.1:7071/v1/anything (any method)",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("other = func.FunctionApp()", "more than one function app: app, other"),
        ("alias = app", "more than one function app: alias, app"),
        ("del app", "does not contain an azure.functions.FunctionApp"),
        (
            "@app.event_grid_trigger(arg_name='event')\ndef f(): ...",
            "cannot load the f function: it has no parameter for binding event",
        ),
        (
            "@app.event_grid_trigger(arg_name='event')\ndef f(event: str, more: int): ...",
            "cannot load the f function: no binding for parameter more",
        ),
        (
            "@app.event_grid_trigger(arg_name='event')\ndef f(event: int): ...",
            "cannot load the f function: eventGridTrigger does not support the type int of parameter event",
        ),
        (
            "@app.event_grid_trigger(arg_name='event')\ndef f(event: 'list[str]'): ...",
            "cannot load the f function: eventGridTrigger does not support the type list of parameter event",
        ),
        (
            """
            @app.queue_output(arg_name='q', queue_name='q', connection='C')
            @app.event_grid_trigger(arg_name='event')
            def f(event: str, q: func.Out[str]): ...
            """,
            "cannot load the f function: the stand-in host does not support queue bindings (q)",
        ),
        (
            "@app.route('a-{b}')\ndef f(req: func.HttpRequest) -> str: ...",
            "route 'api/a-{b}': the stand-in host does not support the segment 'a-{b}'",
        ),
    ],
)
def test_an_app_that_the_worker_would_not_load(tmp_path: Path, text: str, message: str) -> None:
    module = import_app(tmp_path, text)
    with pytest.raises(IndexingFailed) as caught:
        Host(module)
    assert message in str(caught.value)


def test_an_app_can_be_indexed_again_but_names_must_be_unique(tmp_path: Path) -> None:
    app = find_app(import_app(tmp_path, EVERY_TRIGGER))
    assert index_app(app) == index_app(app)

    duplicate = '@app.function_name("aml_event")\n@app.timer_trigger("t", "0 0 0 * * *")\ndef again(t): ...'
    app = find_app(import_app(tmp_path, EVERY_TRIGGER + duplicate))
    with pytest.raises(ValueError, match="Function aml_event does not have a unique"):
        index_app(app)
