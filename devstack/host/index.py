"""Finds the function app and indexes it, with azure-functions' own calls and the worker's own checks.

Source of what is checked: Microsoft's Python worker (the `azure-functions-runtime` package, its loader and
its functions registry).
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
TIMER_TRIGGER = "timerTrigger"


@dataclass(frozen=True)
class IndexedFunction:
    """One function of the app, with all that is needed to call it."""

    name: str
    trigger: Mapping[str, Any]  # the trigger's binding as function.json would have it
    trigger_converter: str  # which converter makes the argument: a binding type, or "generic" for str and bytes
    user_function: Callable[..., Any]
    requires_context: bool
    has_return: bool  # may it return something?
    returns_http: bool  # must what it returns become an HTTP answer?

    @property
    def trigger_type(self) -> str:
        """The trigger's binding type, e.g. `eventGridTrigger`."""
        return str(self.trigger["type"])

    @property
    def trigger_parameter(self) -> str:
        """The parameter that takes what triggered the function."""
        return str(self.trigger["name"])

    @property
    def is_async(self) -> bool:
        """Is it called on the event loop, and not on a thread of the pool?"""
        return inspect.iscoroutinefunction(self.user_function)


def load_app(app_dir: Path) -> FunctionRegister:
    """Imports `function_app.py` of `app_dir` and finds the function app in it.

    `app_dir` becomes the first entry of `sys.path`, so that the app imports its own modules.

    :raises IndexingFailed: no such file, or not exactly one function app.
    :raises Exception: whatever the import raises.
    """
    if not (app_dir / f"{SCRIPT_NAME}.py").is_file():
        raise IndexingFailed(f"there is no {SCRIPT_NAME}.py in {app_dir}")
    sys.path.insert(0, str(app_dir))
    return find_app(importlib.import_module(SCRIPT_NAME))


def find_app(module: ModuleType) -> FunctionRegister:
    """The function app among the module's names.

    :raises IndexingFailed: none or several. Like the worker, it takes a second name for one app for two apps.
    """
    apps = {name: value for name, value in vars(module).items() if isinstance(value, FunctionRegister)}
    if not apps:
        raise IndexingFailed(f"{module.__name__} holds no azure.functions.FunctionApp")
    if len(apps) > 1:
        raise IndexingFailed(f"{module.__name__} holds more than one function app: {', '.join(sorted(apps))}")
    return next(iter(apps.values()))


def index_app(app: FunctionRegister) -> tuple[IndexedFunction, ...]:
    """The app's functions, in the order of their definition.

    :raises IndexingFailed: a function that the worker, or this stand-in, cannot call.
    :raises Exception: whatever the app's own `get_functions` raises.
    """
    # azure-functions takes the second indexing of one app for names used twice; a process does it once, but
    # a test may put two hosts around one app.
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
    """Only a trigger and the HTTP answer: the stand-in brings no other extension with it."""
    trigger = function.get_trigger()
    for binding in function.get_bindings():
        if binding is trigger or (binding.name == RETURN and binding.type == HTTP_OUTPUT):
            continue
        raise IndexingFailed(
            f"cannot load the {name} function: the stand-in host has no {binding.type} binding ({binding.name})"
        )


def _check_parameters(name: str, parameters: set[str], bound: set[str]) -> None:
    if unbound := sorted(parameters - bound):
        raise IndexingFailed(f"cannot load the {name} function: no binding for parameter {', '.join(unbound)}")
    if missing := sorted(bound - parameters):
        raise IndexingFailed(f"cannot load the {name} function: it has no parameter for binding {', '.join(missing)}")


def _converter_of(name: str, trigger: Any, annotations: Mapping[str, Any]) -> str:
    """A parameter annotated `str` or `bytes` gets the text as it came; any other goes through the converter."""
    binding_type = str(trigger.type)
    if trigger.name not in annotations:
        return binding_type
    annotation = annotations[trigger.name]
    converter = GENERIC if annotation in (str, bytes) else binding_type
    if not accepts(converter, annotation):
        raise IndexingFailed(
            f"cannot load the {name} function: a {binding_type} gives no "
            f"{getattr(annotation, '__name__', annotation)!s} for parameter {trigger.name}"
        )
    return converter
