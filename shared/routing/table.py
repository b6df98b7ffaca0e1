"""The dispatch table: decides which pipelines an event queues, and with which parameters. Pure."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from shared.azure_devops.runs import RunRequest
from shared.errors import RenderingRefused
from shared.events.event import AmlEvent, Occurrence, type_of
from shared.journal.cooldown import Window
from shared.journal.records import JournalKey
from shared.routing.allowed_values import ValuePattern
from shared.routing.lineage import lineage_tags
from shared.routing.templates import GATHERED_NAMES, Expression, Scope, Template, is_true


class Cause(NamedTuple):
    """An event that the pipeline of a route leads to. The commands ``graph`` and ``check`` use it; the app ignores it.

    :param names: known values of the event, under the names that conditions use: ``run_status``, ``model_tags.stage``.
    """

    event: str
    names: Mapping[str, Any] = {}


class Gather(NamedTuple):
    """How a route gathers an event: one run is queued for all events of a group that come until it is quiet.

    :param by: names the group, for example a container; usually empty, for one group for the whole route.
    :param quiet: for how long no event must come.
    :param at_most: how long after the first event the run is queued in any case.
    """

    by: str
    quiet: timedelta
    at_most: timedelta


class GatherKeys(NamedTuple):
    """The key ``gather`` of a route, compiled; see ``Gather``."""

    quiet: timedelta
    at_most: timedelta
    by: Template | None = None


class Route(NamedTuple):
    """One route of routes.yaml, compiled. docs/routes.md describes each key."""

    name: str
    event: str
    organization_url: str
    project: str
    pipeline: int | str
    enabled: bool = True
    when: Expression | None = None
    branch: str | None = None
    parameters: Mapping[str, Template] = {}
    variables: Mapping[str, Template] = {}
    stages_to_skip: tuple[str, ...] = ()
    pipeline_version: int | None = None
    once_per: Template | None = None
    allow: ValuePattern | None = None
    correlation_parameter: str | None = None
    include_child_runs: bool = False
    cooldown: timedelta | None = None
    cooldown_key: Template | None = None
    gather: GatherKeys | None = None
    tags: bool = True
    causes: tuple[Cause, ...] = ()


def gathers(route: Route) -> bool:
    """Return whether the route is enabled and gathers events. It then needs a resume queue."""
    return route.enabled and route.gather is not None


class Match(NamedTuple):
    """The route matches the event and queues this run.

    :param window: the cooldown window, in which no other run may be queued; None if the route has no cooldown.
    :param tags: the tags that the run gets after it has been queued.
    :param gather: the event is only counted, and a run for its group is queued later; None if the run is queued now.
    """

    key: JournalKey
    request: RunRequest
    window: Window | None = None
    tags: tuple[str, ...] = ()
    gather: Gather | None = None


class Refusal(NamedTuple):
    """The route would queue a run, but cannot make a safe request from this event. The event is parked.

    :param cause: the name of the error's class; empty if there was no error.
    """

    key: JournalKey
    reason: str
    cause: str = ""


class GatheredRun(NamedTuple):
    """The run for events that a route has gathered. The last one is decided on again.

    :param key: of the run's record.
    :param events: how many were gathered.
    :param since: when the first one came.
    """

    key: JournalKey
    events: int
    since: datetime


class NoMatch(NamedTuple):
    """The reason why a route for events of this type does not match."""

    route: str
    reason: str


class Resolution(NamedTuple):
    """What the routes decide about an event.

    :param decisions: the matches and refusals, in the order of the table.
    :param why_not: why each of the other routes does not match.
    :param scope: the values that conditions and placeholders saw.
    """

    decisions: tuple[Match | Refusal, ...]
    why_not: tuple[NoMatch, ...]
    scope: Scope


class RouteTable:
    """All routes, by event type. Routes of other types do not slow down the decision."""

    def __init__(self, routes: Iterable[Route], digest: str = "") -> None:
        """:param digest: identifies what the file says; see ``shared.routing.digest``. Empty if it is not known."""
        self.routes = tuple(routes)
        self.digest = digest
        by_type: dict[str, list[Route]] = {}
        for route in self.routes:
            by_type.setdefault(type_of(route.event), []).append(route)
        self._by_type = {type_: tuple(found) for type_, found in by_type.items()}

    def resolve(self, event: AmlEvent, occurrence: Occurrence, gathered: GatheredRun | None = None) -> Resolution:
        """Decide for every route of the event's type. No content of an event raises an error.

        :param gathered: the route of this run decides on it, and not on the event alone.
        """
        scope = {**occurrence.names, "event": event.envelope(), "data": event.data}
        decisions: list[Match | Refusal] = []
        why_not: list[NoMatch] = []
        for route in self._by_type.get(event.type, ()):
            own = gathered if gathered is not None and gathered.key.route == route.name else None
            match _resolve_one(route, event, occurrence, scope, own):
                case NoMatch() as answer:
                    why_not.append(answer)
                case answer:
                    decisions.append(answer)
        return Resolution(tuple(decisions), tuple(why_not), scope)


def journal_key(route: str, source: str, identity: str) -> JournalKey:
    """Return the key of an occurrence on a route.

    The case of the source is ignored, since resource ids are not case-sensitive.
    """
    parts = json.dumps([route, source.lower(), identity])
    return JournalKey(route, hashlib.sha256(parts.encode()).hexdigest())


def _resolve_one(
    route: Route, event: AmlEvent, occurrence: Occurrence, scope: Scope, gathered: GatheredRun | None
) -> Match | Refusal | NoMatch:
    if not route.enabled:
        return NoMatch(route.name, "it is disabled")
    if occurrence.is_child_run and not route.include_child_runs:
        return NoMatch(route.name, "the run is a child run; set include_child_runs: true to include it")
    identity = occurrence.identity
    try:
        if route.when is not None and not is_true(route.when.evaluate(scope)):
            return NoMatch(route.name, f"when is not true: {route.when.text}")
        if route.once_per is not None:
            identity = _key("once_per", route.once_per, scope)
        key = journal_key(route.name, event.source, identity) if gathered is None else gathered.key
        tags = lineage_tags(event, occurrence) if route.tags else ()
        gather = _gather(route, scope) if gathered is None else None
        if route.gather is not None or gathered is not None:
            scope = {**scope, **_gathered_names(event, gathered)}
        return Match(key, _request(route, scope, key), _window(route, scope), tags, gather)
    except RenderingRefused as exc:
        return Refusal(journal_key(route.name, event.source, identity), str(exc), type(exc).__name__)


def _request(route: Route, scope: Scope, key: JournalKey) -> RunRequest:
    parameters = _rendered("parameter", route.parameters, route, scope)
    if route.correlation_parameter is not None:
        parameters[route.correlation_parameter] = key.key
    return RunRequest(
        organization_url=route.organization_url,
        project=route.project,
        pipeline=route.pipeline,
        branch=route.branch,
        parameters=parameters,
        variables=_rendered("variable", route.variables, route, scope),
        stages_to_skip=route.stages_to_skip,
        pipeline_version=route.pipeline_version,
        correlation_parameter=route.correlation_parameter,
    )


def _window(route: Route, scope: Scope) -> Window | None:
    if route.cooldown is None:
        return None
    return Window("" if route.cooldown_key is None else _key("cooldown_key", route.cooldown_key, scope), route.cooldown)


def _gather(route: Route, scope: Scope) -> Gather | None:
    if route.gather is None:
        return None
    by = "" if route.gather.by is None else _key("gather.by", route.gather.by, scope)
    return Gather(by, route.gather.quiet, route.gather.at_most)


def _key(name: str, template: Template, scope: Scope) -> str:
    """Render a template that tells events apart; ``name`` is its key in routes.yaml, for the error's message."""
    try:
        return template.render_any(scope)
    except RenderingRefused as exc:
        raise type(exc)(f"{name}: {exc}") from exc


def _gathered_names(event: AmlEvent, gathered: GatheredRun | None) -> Scope:
    """Return the values of ``GATHERED_NAMES``. Of one event, they are as if no other came."""
    since = event.time if gathered is None else gathered.since
    text = "" if since is None else f"{since.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    return dict(zip(GATHERED_NAMES, (1 if gathered is None else gathered.events, text), strict=True))


def _rendered(kind: str, templates: Mapping[str, Template], route: Route, scope: Scope) -> dict[str, str]:
    rendered = {}
    for name, template in templates.items():
        try:
            rendered[name] = template.render(scope, route.allow)
        except RenderingRefused as exc:
            raise type(exc)(f"{kind} '{name}': {exc}") from exc
    return rendered
