"""Reads routes.yaml into a RouteTable and reports every problem of the file at once."""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import fields
from datetime import timedelta
from functools import partial
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import yaml

from shared.durations import parse_duration
from shared.errors import InvalidRoutes, Problem
from shared.events.event import AML_PREFIX, FULL_TYPE, OWN_PREFIX
from shared.journal.cooldown import MAX_COOLDOWN
from shared.routing.allowed_values import InvalidPattern, ValuePattern, compile_pattern
from shared.routing.digest import digest_of
from shared.routing.json_templates import JsonReader
from shared.routing.table import Cause, GatherKeys, Route, RouteTable
from shared.routing.templates import (
    GATHERED_NAMES,
    Expression,
    Fault,
    InvalidExpression,
    Template,
    forbidden_in,
    literal_placeholders,
    parse_template,
    scope_names,
)
from shared.routing.yaml_nodes import (
    FOLDER_EXAMPLE,
    SET_IT,
    SINGLE_QUOTES,
    TEXT_TAG,
    NodeReader,
    WrongValue,
    bare_name,
    boolean,
    plain_value,
    positive,
    positive_integer,
)
from shared.settings import SETTINGS, Settings
from shared.settings.setting import ROW
from shared.suggestion import nearest, suggestion

ROUTES_KEYS: Final = ("version", "defaults", "routes")
ROUTE_KEYS: Final = Route._fields
DEFAULTS_KEYS: Final = ("organization_url", "project", "branch")
REQUIRED_KEYS: Final = ("name", "event", "pipeline", "organization_url", "project")
CAUSE_KEYS: Final = ("event", "with")
CAUSE_NAMES: Final = ("data",)
"""The names for ``with`` if the event type has no names of its own."""
GATHER_KEYS: Final = GatherKeys._fields
REQUIRED_GATHER_KEYS: Final = ("quiet", "at_most")
_GATHER_EXAMPLE: Final = "write {quiet: 10m, at_most: 2h}"
DEFAULT_SETTINGS: Final[Mapping[str, str]] = {
    column.name: column.metadata[ROW].name for column in fields(Settings) if column.name in DEFAULTS_KEYS
}
"""The settings that are the defaults of keys which the file does not have."""
FORMAT_VERSION: Final = 1

ROUTE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_SECRETS: Final = {one.name for one in SETTINGS if one.is_secret} | {
    *("AZUREWEBJOBSSTORAGE", "APPLICATIONINSIGHTS_CONNECTION_STRING", "AZURE_CLIENT_SECRET"),
    *("EVENTGRID_EXTENSION_KEY", "EVENTGRID_TOPIC_KEY"),
}
_WHOLE_NUMBER: Final = re.compile("[-+]?[0-9]+")
OWN_TYPE: Final = "com.example.orders.landed"
"""An example of a full type."""
_LOOPBACK: Final = {"127.0.0.1", "localhost", "::1"}

Names = Mapping[str, Collection[str]]
Read = Callable[[yaml.Node], Any]

Place = tuple[int, int]
"""Line and column in the file, both counted from 1."""


class Reading(NamedTuple):
    """The readable part of a file and its problems.

    :param table: the routes without problems.
    :param problems: what is wrong with the file, whatever the environment.
    :param unset: where the file uses an environment value that is not set. The table then contains ``${NAME}``. A route
        for which ``${NAME}`` is not a valid value is left out.
    :param literal: where literal text is probably meant to be a value. The app accepts it.
    :param places: the position of each route in the table and of its keys, under ``(route,)``, ``(route, key)`` and
        ``(route, "parameters", name)``; and of the list of routes, under ``()``.
    """

    table: RouteTable
    problems: tuple[Problem, ...]
    unset: tuple[Problem, ...]
    literal: tuple[Problem, ...]
    places: Mapping[tuple[str, ...], Place]


def load_routes(text: str, *, source: str, names: Names, environment: Mapping[str, str]) -> RouteTable:
    """Read the dispatch table.

    :param source: the file's name, for messages.
    :param names: maps each event type with names of its own (``RunCompleted``) to these names.
    :param environment: where ``${NAME}`` is looked up.
    :raises InvalidRoutes: the file is wrong; the error lists every problem, or only the YAML syntax error.
    """
    reading = read_routes(text, names=names, environment=environment)
    if reading.problems or reading.unset:
        raise InvalidRoutes(source, (*reading.problems, *reading.unset))
    return reading.table


def read_routes(text: str, *, names: Names, environment: Mapping[str, str]) -> Reading:
    """Read all valid routes of the dispatch table. The parameters are those of ``load_routes``."""
    nodes = NodeReader(text, environment, _SECRETS)
    reader = _RoutesReader(nodes, names, environment)
    table = reader.read()
    problems, unset, literal = (tuple(sorted(found)) for found in (nodes.problems, nodes.unset, nodes.literal))
    return Reading(table, problems, unset, literal, reader.places)


class _RoutesReader:
    def __init__(self, nodes: NodeReader, names: Names, environment: Mapping[str, str]) -> None:
        self._nodes = nodes
        self._names = names
        self._environment = environment
        self._settings: dict[str, Any] = {}
        self._line_by_name: dict[str, int] = {}
        self.places: dict[tuple[str, ...], Place] = {}

    @property
    def problems(self) -> list[Problem]:
        return self._nodes.problems

    def read(self) -> RouteTable:
        root = self._nodes.root()
        if root is None:
            if not self.problems:
                self.problems.append(Problem(1, 1, "", "the file is empty; add 'version: 1' and 'routes'"))
            return RouteTable([])
        if not isinstance(root, yaml.MappingNode):
            advice = f"the file must be a mapping of keys to values; begin it with 'version: {FORMAT_VERSION}'"
            self._nodes.add_problem(root, advice)
            return RouteTable([])
        top = self._nodes.mapping(root, "the file", ROUTES_KEYS)
        for key in ("version", "routes"):
            if key not in top:
                self._nodes.add_problem(root, f"'{key}' is missing from the file", text="")
        if "version" in top and self._nodes.try_read(positive_integer, top["version"]) not in {FORMAT_VERSION, None}:
            self._nodes.add_problem(top["version"], f"is not a supported version; write 'version: {FORMAT_VERSION}'")
        defaults = self._nodes.mapping(top["defaults"], "defaults", DEFAULTS_KEYS) if "defaults" in top else {}
        default_values = self._values(defaults, names=None)
        route_nodes = self._nodes.sequence(top["routes"], "routes") if "routes" in top else []
        self.places[()] = self._nodes.position(top.get("routes", root))
        routes = [self._route(node, default_values) for node in route_nodes]
        digest = "" if self.problems else digest_of(root)
        return RouteTable([route for route in routes if route is not None], digest)

    def _route(self, node: yaml.Node, defaults: Mapping[str, Any]) -> Route | None:
        before = self._nodes.invalid_count
        given = self._nodes.mapping(node, "a route", ROUTE_KEYS)
        if not isinstance(node, yaml.MappingNode):
            return None
        # A key that is misspelled is already a problem.
        others = [str(key.value) for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        meant = {suggestion(key, ROUTE_KEYS) for key in others if key not in ROUTE_KEYS}
        missing = [key for key in REQUIRED_KEYS if key not in given and key not in defaults]
        missing = [key for key in missing if f"did you mean '{key}'?" not in meant]
        for key in missing:
            if key not in DEFAULT_SETTINGS:
                self._nodes.add_problem(node, f"'{key}' is missing from this route", text="")
        settings = {key: self._setting(key, node) for key in missing if key in DEFAULT_SETTINGS}
        event = self._nodes.try_read(self._event, given["event"]) if "event" in given else None
        # If the event type is unknown, do not check names: each name would cause a second problem.
        names = None if event is None else scope_names(self._names.get(event, ()))
        rest = {key: value_node for key, value_node in given.items() if key != "event"}
        values = {**settings, **defaults, "event": event, **self._values(rest, names, gathers="gather" in given)}
        self._check_name(given, values)
        self._check_correlation(given, values)
        if "cooldown_key" in given and "cooldown" not in given:
            self._nodes.add_problem(
                given["cooldown_key"], "has no effect without 'cooldown'; add 'cooldown' or remove this key"
            )
        if "gather" in given and "cooldown" in given:
            self._nodes.add_problem(
                given["gather"],
                "cannot be combined with 'cooldown': that acts on the first event; remove one of the two",
            )
        present = {key: value for key, value in values.items() if value is not None}
        if self._nodes.invalid_count > before or any(key not in present for key in REQUIRED_KEYS):
            return None
        self._note_places(present["name"], node, given)
        return Route(**present)

    def _setting(self, key: str, route: yaml.Node) -> Any:
        """Return the default of a key that the file does not have. A problem is added at the first such route.

        If the setting is not set, the value is ``${NAME}``, as for an environment value in the file.
        """
        if key not in self._settings:
            name = DEFAULT_SETTINGS[key]
            default = f"${{{name}}}"
            self._settings[key] = default
            if self._environment.get(name):
                node = yaml.ScalarNode(TEXT_TAG, default, route.start_mark, route.start_mark)
                try:
                    self._settings[key] = self._readers(None)[key](node)
                except WrongValue as exc:
                    self._settings[key] = None
                    self._nodes.add_problem(route, str(exc), text=name)
            else:
                what = f"'{key}' is missing from this route, and its default, the setting {name}, is not set"
                self._nodes.unset.append(Problem(*self._nodes.position(route), "", f"{what}; {SET_IT}"))
        return self._settings[key]

    def _note_places(self, name: str, route: yaml.Node, given: Mapping[str, yaml.Node]) -> None:
        self.places[name,] = self._nodes.position(route)
        for key, node in given.items():
            self.places[name, key] = self._nodes.position(node)
            if isinstance(node, yaml.MappingNode):
                for key_node, _ in node.value:
                    self.places[name, key, str(key_node.value)] = self._nodes.position(key_node)

    def _values(self, given: Mapping[str, yaml.Node], names: Names | None, *, gathers: bool = False) -> dict[str, Any]:
        readers = self._readers(names, gathers=gathers)
        return {key: self._nodes.try_read(readers[key], node) for key, node in given.items()}

    def _readers(self, names: Names | None, *, gathers: bool = False) -> dict[str, Read]:
        """Return the reader of each key of a route.

        :param gathers: whether the route gathers events, so that its run has additional names.
        """
        names_of_run = {**names, **dict.fromkeys(GATHERED_NAMES, ())} if names is not None and gathers else names
        return {
            "name": self._name,
            "organization_url": self._organization_url,
            "project": self._project,
            "pipeline": self._pipeline,
            "enabled": boolean,
            "when": lambda node: self._expression(Expression, node, names),
            "branch": self._word,
            "parameters": lambda node: self._templates(node, "parameters", names_of_run),
            "variables": lambda node: self._templates(node, "variables", names_of_run),
            "stages_to_skip": lambda node: self._items(node, "stages_to_skip", self._word),
            "pipeline_version": positive_integer,
            "once_per": lambda node: self._template(node, names, identifies=True),
            "allow": self._pattern,
            "correlation_parameter": self._word,
            "include_child_runs": boolean,
            "cooldown": self._duration,
            "cooldown_key": lambda node: self._template(node, names, identifies=True),
            "gather": lambda node: self._gather(node, names),
            "tags": boolean,
            "causes": lambda node: self._items(node, "causes", self._cause),
        }

    def _event(self, node: yaml.Node) -> str:
        if isinstance(node, yaml.SequenceNode):
            raise WrongValue("must be one event type, not a list; write one route for each type")
        text = self._nodes.text(node)
        name = text.removeprefix(AML_PREFIX)
        if name in self._names:
            return name
        if text.startswith(OWN_PREFIX):
            raise WrongValue("is an event of nextstage, which cannot queue a pipeline")
        if FULL_TYPE.fullmatch(text) and text.lower() not in map(str.lower, self._names):
            return text
        is_near = nearest(name, self._names) is not None
        rule = "" if is_near else f", nor a full type, which has a dot, such as {OWN_TYPE}"
        raise WrongValue(f"is not an event type{rule}; {suggestion(name, self._names)}")

    def _name(self, node: yaml.Node) -> str:
        name = self._nodes.text(node)
        if not ROUTE_NAME.fullmatch(name):
            raise WrongValue(
                "must begin with a letter or digit and have only letters, digits, '.', '_' and '-', at most 63 in all"
            )
        return name

    def _pipeline(self, node: yaml.Node) -> int | str:
        pipeline = self._word(node)
        if _WHOLE_NUMBER.fullmatch(pipeline):
            return positive(pipeline)
        names = [name for name in re.split(r"[/\\]", pipeline) if name]
        if pipeline not in {(path := "".join(f"\\{name}" for name in names)), *names}:
            raise WrongValue(f"is not how Azure DevOps writes folders; write {path or FOLDER_EXAMPLE}")
        return pipeline

    def _project(self, node: yaml.Node) -> str:
        project = self._word(node)
        if "/" in project:
            raise WrongValue("must be the name or id of a project, without '/'")
        return project

    def _organization_url(self, node: yaml.Node) -> str:
        url = self._nodes.text(node).strip()
        if (bare := bare_name(url, anywhere=True)) is not None:
            raise WrongValue(bare)
        url = self._word(node).rstrip("/")
        if self._nodes.is_unset(node):
            return url
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname, parts.port
        except ValueError as exc:
            raise WrongValue("is not a URL; write https://dev.azure.com/<organization>") from exc
        if parts.username or parts.password or parts.query or parts.fragment:
            raise WrongValue(
                "must not contain a user name, password, query or fragment; put credentials into application settings"
            )
        if not host or (parts.scheme != "https" and not (parts.scheme == "http" and host in _LOOPBACK)):
            raise WrongValue(
                "must begin with https://, since a credential is sent there (http:// is allowed only for this machine)"
            )
        return url

    def _expression(self, parse: Callable[..., Any], node: yaml.Node, names: Names | None) -> Any:
        try:
            return parse(self._nodes.text(node), names)
        except InvalidExpression as exc:
            raise WrongValue(*exc.faults) from exc

    def _templates(self, node: yaml.Node, what: str, names: Names | None) -> dict[str, Template]:
        given = self._nodes.mapping(node, what)
        read = self._parameter if what == "parameters" else self._template
        return self._each(given, lambda value: read(value, names))

    def _parameter(self, node: yaml.Node, names: Names | None) -> Template:
        """Read a parameter. Objects and lists become JSON."""
        if isinstance(node, yaml.ScalarNode):
            return self._template(node, names)
        return JsonReader(self._nodes, lambda value: self._template(value, names)).read(node)

    def _template(self, node: yaml.Node, names: Names | None, *, identifies: bool = False) -> Template:
        """Read a template.

        :param identifies: whether its value tells events apart.
        """
        template: Template = self._expression(parse_template, node, names)
        doubts = [] if names is None else literal_placeholders(template.text, names, identifies=identifies)
        if (bare := bare_name(template.text, anywhere=False)) is not None:
            doubts.append(bare)
        for doubt in doubts:
            self._nodes.doubt(node, doubt)
        return template

    def _items(self, node: yaml.Node, what: str, read: Read) -> tuple[Any, ...]:
        """Return the valid items of a list."""
        items = [self._nodes.try_read(read, item) for item in self._nodes.sequence(node, what)]
        return tuple(item for item in items if item is not None)

    def _each(self, given: Mapping[str, yaml.Node], read: Read) -> dict[str, Any]:
        """Return the valid values of a mapping."""
        values = {key: self._nodes.try_read(read, node) for key, node in given.items()}
        return {key: value for key, value in values.items() if value is not None}

    def _cause(self, node: yaml.Node) -> Cause | None:
        """Read an event type, or ``{event: …, with: {name: value}}``."""
        if not isinstance(node, yaml.MappingNode):
            return Cause(self._event(node))
        given = self._nodes.mapping(node, "a cause", CAUSE_KEYS)
        if "event" not in given:
            raise WrongValue("'event' is missing from this cause")
        event = self._nodes.try_read(self._event, given["event"])
        known = self._nodes.mapping(given["with"], "with") if "with" in given else {}
        if event is None:
            return None
        names = self._names.get(event, CAUSE_NAMES)
        for name, value in known.items():
            if name.partition(".")[0] not in names:
                advice = suggestion(name, names)
                self._nodes.add_problem(value, f"{event} events have no name '{name}'; {advice}", text=name)
        return Cause(event, self._each(known, plain_value))

    def _gather(self, node: yaml.Node, names: Names | None) -> GatherKeys | None:
        """Read ``{quiet: …, at_most: …, by: …}``."""
        if not isinstance(node, yaml.MappingNode):
            raise WrongValue(f"must be a mapping of keys to values; {_GATHER_EXAMPLE}")
        given = self._nodes.mapping(node, "gather", GATHER_KEYS)
        if missing := [f"'{key}'" for key in REQUIRED_GATHER_KEYS if key not in given]:
            raise WrongValue(f"has no {' and no '.join(missing)}; {_GATHER_EXAMPLE}")
        quiet, at_most = (self._nodes.try_read(self._duration, given[key]) for key in REQUIRED_GATHER_KEYS)
        group = partial(self._template, names=names, identifies=True)
        by = self._nodes.try_read(group, given["by"]) if "by" in given else None
        if quiet is None or at_most is None:
            return None
        if at_most < quiet:
            self._nodes.add_problem(given["at_most"], "is shorter than 'quiet'; a run would never wait for quiet")
        return GatherKeys(quiet, at_most, by)

    def _duration(self, node: yaml.Node) -> timedelta:
        try:
            length = parse_duration(self._nodes.text(node))
        except ValueError as exc:
            raise WrongValue(f"{exc}, {MAX_COOLDOWN.days}d at most") from exc
        if length > MAX_COOLDOWN:
            raise WrongValue(f"must be at most {MAX_COOLDOWN.days} days")
        return length

    def _pattern(self, node: yaml.Node) -> ValuePattern:
        try:
            return compile_pattern(self._nodes.text(node))
        except InvalidPattern as exc:
            raise WrongValue(Fault(str(exc), exc.offset)) from exc

    def _word(self, node: yaml.Node) -> str:
        """Read text that is sent to Azure DevOps unchanged."""
        text = self._nodes.text(node)
        word, is_escaped = text.strip(), getattr(node, "style", "") == '"'
        if not word:
            raise WrongValue("is empty; give a value or remove the key")
        if (found := forbidden_in(text if is_escaped else word)) is not None or "{{" in word:
            advice = SINGLE_QUOTES if is_escaped and found and "control" in found else "write plain text"
            raise WrongValue(f"contains {found or 'a placeholder'}, which is not allowed here; {advice}")
        if (bare := bare_name(word, anywhere=True)) is not None:
            self._nodes.doubt(node, bare)
        return word

    def _check_name(self, given: Mapping[str, yaml.Node], values: Mapping[str, Any]) -> None:
        name = values.get("name")
        if name in self._line_by_name:
            self._nodes.add_problem(
                given["name"], f"the route on line {self._line_by_name[name]} already has this name; choose another"
            )
        elif name is not None:
            self._line_by_name[name] = given["name"].start_mark.line + 1

    def _check_correlation(self, given: Mapping[str, yaml.Node], values: Mapping[str, Any]) -> None:
        name = values.get("correlation_parameter")
        if name is not None and name in (values.get("parameters") or {}):
            self._nodes.add_problem(
                given["correlation_parameter"],
                "is also in 'parameters'; nextstage sets its value, so remove it from 'parameters'",
            )
