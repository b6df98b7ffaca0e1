"""Checks of a deployed app by Azure Resource Manager: the app, its function, its key, and the event subscriptions."""

from collections.abc import Generator, Iterable, Iterator, Sequence, Set
from datetime import datetime, timedelta
from typing import Final

from handlers import event_type
from shared.credentials import Secret
from shared.routing.table import Route
from tools.actions.check_results import CheckResult, Status, failed
from tools.azure.answers import ResourceManagerError
from tools.azure.connecting import Pauses
from tools.azure.deployment import Deployment
from tools.azure.event_resources import WORKSPACE_TYPES, is_for_a_source, source_name
from tools.azure.function_app import HostNotReady, Site, enabled_functions, find_site, system_key
from tools.azure.plan import Plan
from tools.azure.resource_manager import ResourceManager
from tools.azure.sources import SOURCES, Resource
from tools.azure.subscriptions import SUCCEEDED, EventSubscription, matched, missing_types, subscriptions_to
from tools.azure.topics import list_topics, topic_of
from tools.errors import CommandFailed
from tools.presentation import counted

SITE: Final = "function app"
FUNCTION: Final = "function"
KEY: Final = "key"
SUBSCRIPTION: Final = "events"

_PAUSES_SECONDS: Final = (5.0, 10.0, 20.0)
_FORBIDDEN: Final = 403
_READ_THE_APP: Final = "ask for the role Reader or Website Contributor on the function app"
_LIST_KEYS: Final = "ask for the role Website Contributor on the function app, or set EVENTGRID_EXTENSION_KEY"
_READ_TOPICS: Final = "ask for the role EventGrid Contributor or Reader on the resource group of the topic"
_QUIET: Final = timedelta(days=7)
"""How long no event may match a filter before the check says so. The metrics are kept for 93 days."""

_START: Final = "start it on its page in the portal, then run './manage.py redrive --dead-letters URL'"
_SEE_START_ERRORS: Final = "see nextstage-no-functions in docs/operating.md"
_CONNECT: Final = "run './manage.py connect'"


def check_app(manager: ResourceManager, deployment: Deployment) -> Generator[CheckResult, None, Site | None]:
    """Check that the app exists and runs, and return it; None if that is not known."""
    try:
        site = find_site(manager, deployment.app.id)
    except CommandFailed as exc:
        yield _refused(SITE, exc, _READ_THE_APP)
        return None
    if site.runs:
        yield CheckResult(SITE, Status.OK, f"{site.url or deployment.app.name} runs")
    else:
        # The platform then answers 403. Source: Azure/azure-functions-eventgrid-extension, issue 113.
        what = f"{deployment.app.name} is stopped, and each event becomes a dead letter at once"
        yield CheckResult(SITE, Status.FAILED, what, _START)
    return site


def check_function(manager: ResourceManager, deployment: Deployment) -> CheckResult:
    """Check that Azure lists the function that receives events, as event subscriptions require."""
    name = deployment.function
    try:
        functions = enabled_functions(manager, deployment.app.id)
    except CommandFailed as exc:
        return _refused(FUNCTION, exc, _READ_THE_APP)
    if name not in functions:
        listed = f"only {', '.join(sorted(functions))}" if functions else "nor any other"
        what = f"Azure does not list the function {name}, {listed}; event subscriptions need it"
        advice = f"{_CONNECT}; if that does not help, {_SEE_START_ERRORS}"
        return CheckResult(FUNCTION, Status.FAILED, what, advice)
    if not functions[name]:
        advice = f"remove the application setting AzureWebJobs.{name}.Disabled"
        return CheckResult(FUNCTION, Status.FAILED, f"the function {name} is disabled", advice)
    return CheckResult(FUNCTION, Status.OK, f"Azure lists {name}")


def check_key(
    manager: ResourceManager, deployment: Deployment, pauses: Pauses
) -> Generator[CheckResult, None, Secret | None]:
    """Check that the app has a system key for its Event Grid endpoint, and return it; None if there is none."""
    try:
        key = _key(manager, deployment, pauses)
    except CommandFailed as exc:
        yield _refused(KEY, exc, _LIST_KEYS)
        return None
    yield CheckResult(KEY, Status.OK, "Azure returned the system key of the app's Event Grid endpoint")
    return key


def _key(manager: ResourceManager, deployment: Deployment, pauses: Pauses) -> Secret:
    """Get the key. Azure asks the app's host for it, which may have to start first."""
    for seconds in _PAUSES_SECONDS:
        try:
            return system_key(manager, deployment.app.id)
        except HostNotReady as exc:
            pauses.say(f"{exc}; trying again in {seconds:g} s")
        pauses.pause(seconds)
    return system_key(manager, deployment.app.id)


def check_subscriptions(manager: ResourceManager, deployment: Deployment, now: datetime) -> Iterator[CheckResult]:
    """Check that the events of each resource lead to the app, and that undeliverable ones are kept."""
    try:
        topics = list_topics(manager, deployment.plan)
        for resource in deployment.plan.resources:
            topic = topic_of(manager, resource, topics)
            found = [] if topic is None else subscriptions_to(manager, topic, deployment.function_id)
            yield from _found(deployment, resource, found)
            ours = {one.name.lower() for one in found if is_for_a_source(deployment.plan, one.name)}
            if topic is not None and ours:
                yield from _changed(deployment, resource, ours)
                yield from _silent(manager, resource.name, topic.text("id"), ours, now)
    except CommandFailed as exc:
        yield _refused(SUBSCRIPTION, exc, _READ_TOPICS)


def check_routes(plan: Plan, routes: Iterable[Route]) -> Iterator[CheckResult]:
    """Warn about each enabled route whose event type no workspace and no source should deliver."""
    if any("includedEventTypes" not in source.filter for source in plan.sources):
        return  # only the source knows what it sends
    delivered = {type_.lower() for resource in plan.resources for type_ in _wanted(plan, resource)}
    for route in routes:
        type_ = event_type(route.event).type
        if route.enabled and type_.lower() not in delivered:
            what = f"{route.name}: no workspace and no source delivers {type_}, so the route never queues a run"
            advice = f"add a source to {SOURCES}, see docs/event-sources.md; or disable the route"
            yield CheckResult(SUBSCRIPTION, Status.WARNING, what, advice)


def _wanted(plan: Plan, resource: Resource) -> list[str]:
    """Return the event types of a resource that the app should receive."""
    sources = [source.filter.get("includedEventTypes", []) for source in plan.sources_of(resource)]
    return [
        *(WORKSPACE_TYPES if resource in plan.workspaces else []),
        *(name for one in sources for name in one),
    ]


def _found(deployment: Deployment, resource: Resource, found: Sequence[EventSubscription]) -> Iterator[CheckResult]:
    name = resource.name
    if not found:
        what = f"{name}: no event subscription leads to {deployment.app.name}, so no event arrives"
        yield CheckResult(SUBSCRIPTION, Status.FAILED, what, _CONNECT)
        return
    problems = [*_problems(name, found, _wanted(deployment.plan, resource))]
    yield from problems
    if not problems:
        names = ", ".join(one.name for one in found)
        which = " for all event types" if resource in deployment.plan.workspaces else ""
        what = f"{name}: {counted(len(found), 'event subscription')}{which}: {names}"
        yield CheckResult(SUBSCRIPTION, Status.OK, what)


def _changed(deployment: Deployment, resource: Resource, ours: Set[str]) -> Iterator[CheckResult]:
    """Say if the sources are others than those for which there are event subscriptions."""
    plan = deployment.plan
    if ours != {source_name(plan, source).lower() for source in plan.sources_of(resource)}:
        what = f"{resource.name}: {SOURCES} has changed since its event subscriptions were made"
        yield CheckResult(SUBSCRIPTION, Status.WARNING, what, _CONNECT)


def _silent(manager: ResourceManager, name: str, topic_id: str, ours: Set[str], now: datetime) -> Iterator[CheckResult]:
    """Say which filters of sources no event has matched. A wrong filter is silent otherwise.

    :param ours: the names of the event subscriptions, in lower case.
    """
    try:
        counts = matched(manager, topic_id, now - _QUIET, now)
    except CommandFailed as exc:
        what = f"{name}: whether events match the filters is not known: {exc}"
        yield CheckResult(SUBSCRIPTION, Status.WARNING, what, "ask for the role Monitoring Reader on the topic")
        return
    for one in sorted(ours):
        if not counts.get(one):
            what = f"{name}: no event has matched the filter of {one} in the last {_QUIET.days} days"
            advice = "if there were such events, compare the filter with one of them: its type, and all of its subject"
            yield CheckResult(SUBSCRIPTION, Status.WARNING, what, advice)


def _problems(name: str, found: Sequence[EventSubscription], wanted: Sequence[str]) -> Iterator[CheckResult]:
    for one in found:
        if one.state != SUCCEEDED:
            what = f"{name}: the event subscription {one.name} is in the state {one.state or 'unknown'}"
            yield CheckResult(SUBSCRIPTION, Status.FAILED, what, _CONNECT)
        elif not one.writes_dead_letters:
            what = f"{name}: {one.name} cannot keep the events that are not delivered within a day; they are lost"
            yield CheckResult(SUBSCRIPTION, Status.FAILED, what, _CONNECT)
    if missing := missing_types(found, wanted):
        what = f"{name}: no event subscription delivers {', '.join(missing)}"
        yield CheckResult(SUBSCRIPTION, Status.WARNING, what, f"if a route needs it, {_CONNECT}")


def _refused(check: str, error: CommandFailed, role: str) -> CheckResult:
    """Return the result of a question that Azure Resource Manager did not answer as hoped.

    :param role: the next step if a role is missing.
    """
    if isinstance(error, ResourceManagerError) and error.status == _FORBIDDEN:
        return CheckResult(check, Status.FAILED, str(error), role)
    return failed(check, error, f"try again; if it stays so, {_SEE_START_ERRORS}")
