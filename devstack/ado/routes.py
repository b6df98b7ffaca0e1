"""Maps addresses to the functions that answer them."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Any

from werkzeug.exceptions import MethodNotAllowed, NotFound
from werkzeug.routing import Map, MapAdapter, Rule

from devstack.ado import control_api, identity, locations
from devstack.ado.errors import method_not_allowed, not_found
from devstack.ado.runs import builds_api, pages, pipelines_api
from devstack.ado.tasks import control as control_tasks
from devstack.ado.tasks import hub_api as task_hub_api

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from werkzeug.wrappers import Request, Response

CONTROL_PREFIX = "/_emulator/"
_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)

_ORGANIZATION = "/<organization>/_apis"
_PROJECT = "/<organization>/<project>/_apis"
_PIPELINE = f"{_PROJECT}/pipelines/<int:pipeline_id>"
_BUILD = f"{_PROJECT}/build/builds/<int:build_id>"
_PLAN = "/<organization>/<scope>/_apis/distributedtask/hubs/<hub>/plans/<uuid:plan_id>"
_RECORDS = f"{_PLAN}/timelines/<uuid:timeline_id>/records"


def _rule(path: str, method: str, endpoint: Callable[..., Response]) -> Rule:
    return Rule(path, methods=[method], endpoint=endpoint, strict_slashes=False)


def _router(rules: Iterable[Rule]) -> MapAdapter:
    return Map(rules, redirect_defaults=False, merge_slashes=False).bind("")


# Compiling the rules is slow, so all emulators of the process share them.
SERVICE = _router(
    [
        _rule(_ORGANIZATION, "OPTIONS", locations.list_locations),
        _rule(f"{_ORGANIZATION}/connectiondata", "GET", locations.get_connection_data),
        _rule(f"{_ORGANIZATION}/resourceareas", "GET", locations.list_resource_areas),
        _rule(f"{_PROJECT}/pipelines", "GET", pipelines_api.list_pipelines),
        _rule(_PIPELINE, "GET", pipelines_api.get_pipeline),
        _rule(f"{_PIPELINE}/preview", "POST", pipelines_api.preview_pipeline),
        _rule(f"{_PIPELINE}/runs", "POST", pipelines_api.run_pipeline),
        _rule(f"{_PIPELINE}/runs/<int:run_id>", "GET", pipelines_api.get_run),
        _rule(f"{_PROJECT}/build/builds", "GET", builds_api.list_builds),
        _rule(_BUILD, "GET", builds_api.get_build),
        _rule(_BUILD, "PATCH", builds_api.update_build),
        _rule(f"{_BUILD}/timeline", "GET", builds_api.get_timeline),
        _rule(f"{_BUILD}/tags", "GET", builds_api.get_tags),
        _rule(f"{_BUILD}/tags", "POST", builds_api.add_tags),
    ]
)
TASK_HUB = _router(
    [
        _rule(f"{_PLAN}/events", "POST", task_hub_api.post_event),
        _rule(f"{_PLAN}/logs", "POST", task_hub_api.create_log),
        _rule(f"{_PLAN}/logs/<int:log_id>", "POST", task_hub_api.append_log),
        _rule(_RECORDS, "GET", task_hub_api.get_records),
        _rule(_RECORDS, "PATCH", task_hub_api.update_records),
        _rule(f"{_RECORDS}/<uuid:record_id>/feed", "POST", task_hub_api.append_feed),
    ]
)
PAGES = _router(
    [
        _rule("/<organization>/<project>/_build/results", "GET", pages.run_page),
        _rule("/<organization>/<project>/_build/definition", "GET", pages.pipeline_page),
    ]
)
CONTROL = _router(
    [
        _rule(f"{CONTROL_PREFIX}books", "GET", control_api.get_books),
        _rule(f"{CONTROL_PREFIX}faults", "GET", control_api.get_faults),
        _rule(f"{CONTROL_PREFIX}faults", "POST", control_api.plan_faults),
        _rule(f"{CONTROL_PREFIX}faults", "DELETE", control_api.clear_faults),
        _rule(f"{CONTROL_PREFIX}behavior", "GET", control_api.get_behavior),
        _rule(f"{CONTROL_PREFIX}behavior", "POST", control_api.change_behavior),
        _rule(f"{CONTROL_PREFIX}outage", "POST", control_api.go_down),
        _rule(f"{CONTROL_PREFIX}restart", "POST", control_api.restart),
        _rule(f"{CONTROL_PREFIX}runs", "POST", control_api.queue_run),
        _rule(f"{CONTROL_PREFIX}runs/<int:run_id>", "POST", control_api.finish_run),
        _rule(f"{CONTROL_PREFIX}tasks", "POST", control_tasks.start_task),
        _rule(f"{CONTROL_PREFIX}tasks/<uuid:task_id>", "GET", control_tasks.get_task),
        _rule(f"{CONTROL_PREFIX}tasks/<uuid:task_id>", "POST", control_tasks.time_task_out),
        _rule(f"{CONTROL_PREFIX}plans/<uuid:plan_id>", "POST", control_tasks.end_plan),
        _rule(f"{CONTROL_PREFIX}plans/<uuid:plan_id>/token", "DELETE", control_tasks.expire_token),
        _rule(f"{CONTROL_PREFIX}jobs", "POST", control_tasks.set_job),
        _rule(f"{CONTROL_PREFIX}identity", "GET", identity.get_identity_token),
    ]
)


def is_task_hub(path: str) -> bool:
    return "/_apis/distributedtask/" in path.lower()


def is_page(path: str) -> bool:
    return path.lower().rstrip("/").endswith(("/_build/results", "/_build/definition"))


def route(router: MapAdapter, request: Request) -> tuple[Callable[..., Response], dict[str, Any]]:
    """Return the endpoint for a request, and its arguments. As in Azure DevOps, paths are not case-sensitive.

    :raises ApiError: 404 or 405.
    """
    try:
        endpoint, found = router.match(request.path.translate(_LOWER), request.method)
    except MethodNotAllowed as exc:
        allowed = sorted(set(exc.valid_methods or ()) - {"HEAD"})
        raise method_not_allowed(request.method, allowed) from exc
    except NotFound as exc:
        raise not_found() from exc
    return endpoint, dict(found)
