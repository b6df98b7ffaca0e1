"""What the host finds in a function app, and what it refuses to load."""

import sys
from pathlib import Path

import pytest

from devstack.host import Host, HostError, HostSettings, load_app, route_template
from devstack.host.errors import IndexingFailed
from devstack.host.index import find_app, index_app
from tests.support.services.host_apps import import_app, write_app

EVERY_TRIGGER = """
@app.event_grid_trigger(arg_name="event")
def aml_event(event: str) -> None: ...

@app.function_name("nightly")
@app.timer_trigger(arg_name="timer", schedule="0 0 0 * * *")
async def on_timer(timer: func.TimerRequest, context: func.Context) -> None: ...

@app.route("runs/{id:int}", methods=["GET", "DELETE"])
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
        "nightly: timerTrigger http://127.0.0.1:7071/admin/functions/nightly (POST, by hand)",
        "run: httpTrigger http://127.0.0.1:7071/v1/runs/{id:int} (DELETE, GET)",
        "anything: httpTrigger http://127.0.0.1:7071/v1/anything (any method)",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("other = func.FunctionApp()", "more than one function app: app, other"),
        ("alias = app", "more than one function app: alias, app"),
        ("del app", "holds no azure.functions.FunctionApp"),
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
            "cannot load the f function: a eventGridTrigger gives no int for parameter event",
        ),
        (
            "@app.event_grid_trigger(arg_name='event')\ndef f(event: 'list[str]'): ...",
            "cannot load the f function: a eventGridTrigger gives no list for parameter event",
        ),
        (
            """
            @app.queue_output(arg_name='q', queue_name='q', connection='C')
            @app.event_grid_trigger(arg_name='event')
            def f(event: str, q: func.Out[str]): ...
            """,
            "cannot load the f function: the stand-in host has no queue binding (q)",
        ),
        (
            "@app.route('a/{b:minlength(3)}')\ndef f(req: func.HttpRequest) -> str: ...",
            "route 'api/a/{b:minlength(3)}': the stand-in host cannot match '{b:minlength(3)}'",
        ),
        (
            "@app.route('a-{b}')\ndef f(req: func.HttpRequest) -> str: ...",
            "route 'api/a-{b}': the stand-in host cannot match 'a-{b}'",
        ),
    ],
)
def test_an_app_that_the_worker_would_not_load(tmp_path: Path, text: str, message: str) -> None:
    module = import_app(tmp_path, text)
    with pytest.raises(IndexingFailed) as caught:
        Host(module)
    assert message in str(caught.value)


def test_an_exception_of_the_apps_own_indexing_comes_through(tmp_path: Path) -> None:
    module = import_app(
        tmp_path,
        """
        class Checked(func.FunctionApp):
            def get_functions(self):
                raise ValueError("two problems:\\n  one\\n  two")

        app = Checked()
        """,
    )
    with pytest.raises(ValueError, match=r"^two problems:\n  one\n  two$"):
        Host(module)


def test_load_app_imports_the_apps_own_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "function_app", raising=False)
    (tmp_path / "beside_the_app.py").write_text("NAME = 'named_beside'\n", encoding="utf-8")
    write_app(
        tmp_path,
        """
        from beside_the_app import NAME

        @app.function_name(NAME)
        @app.event_grid_trigger(arg_name="event")
        def f(event: str): ...
        """,
    )
    try:
        app = load_app(tmp_path)
    finally:
        sys.modules.pop("function_app", None)
        sys.modules.pop("beside_the_app", None)

    assert [function.name for function in index_app(app)] == ["named_beside"]


def test_load_app_wants_a_function_app_py(tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"^there is no function_app\.py in "):
        load_app(tmp_path)


def test_an_app_may_be_indexed_again_but_a_name_used_once_only(tmp_path: Path) -> None:
    app = find_app(import_app(tmp_path, EVERY_TRIGGER))
    assert index_app(app) == index_app(app)

    twice = '@app.function_name("aml_event")\n@app.timer_trigger("t", "0 0 0 * * *")\ndef again(t): ...'
    app = find_app(import_app(tmp_path, EVERY_TRIGGER + twice))
    with pytest.raises(ValueError, match="Function aml_event does not have a unique"):
        index_app(app)


@pytest.mark.parametrize(
    ("template", "path", "expected"),
    [
        ("runs", "runs", {}),
        ("runs", "RUNS", {}),
        ("runs", "runs/1", None),
        ("a.b", "axb", None),
        ("runs/{id}", "runs/Ab-1", {"id": "Ab-1"}),
        ("runs/{id}", "runs", None),
        ("runs/{id}", "runs/1/2", None),
        ("runs/{id?}", "runs", {}),
        ("runs/{id?}", "runs/7", {"id": "7"}),
        ("runs/{id:int}", "runs/-7", {"id": "-7"}),
        ("runs/{id:int}", "runs/seven", None),
        ("{id:guid}", "2d1781af-3a4c-4d7c-bd0c-e34b19da4e66", {"id": "2d1781af-3a4c-4d7c-bd0c-e34b19da4e66"}),
        ("{on:bool?}", "True", {"on": "True"}),
        ("files/{*path}", "files/a/b", {"path": "a/b"}),
        ("files/{*path}", "files", {}),
        ("{*path}", "", {}),
    ],
)
def test_route_templates(template: str, path: str, expected: dict[str, str] | None) -> None:
    assert route_template.parse(template).match(path) == expected
