"""Finds and indexes the function app, with azure-functions' own calls and the same checks as the worker.

Source of the checks: Microsoft's Python worker (the `azure-functions-runtime` package, its loader and its functions
registry).
"""

import importlib
import inspect
import sys
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from azure.functions import FunctionRegister

from devstack.host.bindings import GENERIC, RETURN, accepts, has_implicit_output
from devstack.host.errors import IndexingFailed

SCRIPT_NAME = "function_app"

HTTP_TRIGGER = "httpTrigger"
HTTP_OUTPUT = "http"
EVENT_GRID_TRIGGER = "eventGridTrigger"
QUEUE_TRIGGER = "queueTrigger"
TIMER_TRIGGER = "timerTrigger"


@dataclass(frozen=True)
class IndexedFunction:
    """One function of the app, with everything that is needed to call it."""

    name: str
    trigger: Mapping[str, Any]  # the trigger's binding, in the form of function.json
    trigger_converter: str  # the converter for the argument: a binding type, or "generic" for str and bytes
    user_function: Callable[..., Any]
    requires_context: bool
    has_return: bool  # whether the function may return a value
    returns_http: bool  # whether the return value is converted to an HTTP answer

    @property
    def full_name(self) -> str:
        """The name as the host writes it in answers, for example `Functions.aml_event`."""
        return f"Functions.{self.name}"

    @property
    def trigger_type(self) -> str:
        """The trigger's binding type, for example `eventGridTrigger`."""
        return str(self.trigger["type"])

    @property
    def trigger_parameter(self) -> str:
        """The name of the parameter that receives the trigger's data."""
        return str(self.trigger["name"])

    @property
    def is_async(self) -> bool:
        """Whether the function runs on the event loop instead of on a thread of the pool."""
        return inspect.iscoroutinefunction(self.user_function)


def load_app(app_dir: Path) -> FunctionRegister:
    """Import `function_app.py` from `app_dir` and return its function app.

    `app_dir` becomes the first entry of `sys.path`, because the app imports its own modules.

    :raises IndexingFailed: the file does not exist, or does not contain exactly one function app.
    :raises Exception: whatever the import raises.
    """
    if not (app_dir / f"{SCRIPT_NAME}.py").is_file():
        raise IndexingFailed(f"there is no {SCRIPT_NAME}.py in {app_dir}")
    if sys.path[0] != str(app_dir):
        sys.path.insert(0, str(app_dir))
    return find_app(importlib.import_module(SCRIPT_NAME))


def find_app(module: ModuleType) -> FunctionRegister:
    """Return the function app in a module.

    :raises IndexingFailed: the module has no app or several. Like the worker, count one app with two names as two.
    """
    apps = {name: value for name, value in vars(module).items() if isinstance(value, FunctionRegister)}
    if not apps:
        raise IndexingFailed(f"{module.__name__} does not contain an azure.functions.FunctionApp")
    if len(apps) > 1:
        raise IndexingFailed(f"{module.__name__} contains more than one function app: {', '.join(sorted(apps))}")
    return next(iter(apps.values()))


def index_app(app: FunctionRegister) -> tuple[IndexedFunction, ...]:
    """Return the app's functions in the order of their definition.

    :raises IndexingFailed: the worker or the stand-in host cannot call a function.
    :raises Exception: whatever the app's own `get_functions` raises.
    """
    # If an app is indexed twice, azure-functions reports duplicate names. A test may create two hosts for one app.
    app.functions_bindings = None
    return tuple(_indexed(function) for function in app.get_functions())


def _indexed(function: Any) -> IndexedFunction:
    name = str(function.get_function_name())
    user_function = function.get_user_function()
    trigger = function.get_trigger()
    parameters = set(inspect.signature(user_function).parameters)
    annotations = typing.get_type_hints(user_function)
    bound = {str(binding.name) for binding in function.get_bindings()} - {RETURN}
    requires_context = "context" in parameters and "context" not in bound
    _check_bindings(name, function)
    _check_parameters(name, parameters - ({"context"} if requires_context else set()), bound)
    return IndexedFunction(
        name=name,
        trigger=trigger.get_dict_repr(),
        trigger_converter=_converter_of(name, trigger, annotations),
        user_function=user_function,
        requires_context=requires_context,
        has_return=any(
            binding.name == RETURN or has_implicit_output(binding.type) for binding in function.get_bindings()
        ),
        returns_http=any(binding.type == HTTP_OUTPUT for binding in function.get_bindings()),
    )


def _check_bindings(name: str, function: Any) -> None:
    """Reject all bindings except the trigger and the HTTP answer: the stand-in host has no other extensions."""
    trigger = function.get_trigger()
    for binding in function.get_bindings():
        if binding is trigger or (binding.name == RETURN and binding.type == HTTP_OUTPUT):
            continue
        raise IndexingFailed(
            f"cannot load the {name} function: the stand-in host does not support {binding.type} bindings "
            f"({binding.name})"
        )


def _check_parameters(name: str, parameters: set[str], bound: set[str]) -> None:
    if unbound := sorted(parameters - bound):
        raise IndexingFailed(f"cannot load the {name} function: no binding for parameter {', '.join(unbound)}")
    if missing := sorted(bound - parameters):
        raise IndexingFailed(f"cannot load the {name} function: it has no parameter for binding {', '.join(missing)}")


def _converter_of(name: str, trigger: Any, annotations: Mapping[str, Any]) -> str:
    """Return the converter for the trigger parameter. `str` and `bytes` parameters get the unconverted string."""
    binding_type = str(trigger.type)
    if trigger.name not in annotations:
        return binding_type
    annotation = annotations[trigger.name]
    converter = GENERIC if annotation in (str, bytes) else binding_type
    if not accepts(converter, annotation):
        raise IndexingFailed(
            f"cannot load the {name} function: {binding_type} does not support the type "
            f"{getattr(annotation, '__name__', annotation)!s} of parameter {trigger.name}"
        )
    return converter
