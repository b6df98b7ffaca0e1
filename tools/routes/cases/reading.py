"""Reads ``routes.test.yaml``, and collects every mistake with its line."""

import io
import json
from collections.abc import Collection, Mapping
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

from shared.azure_devops.runs import RunRequest
from shared.durations import parse_duration
from shared.errors import Problem
from shared.journal.records import UNROUTED
from shared.routing.yaml_nodes import TAG, NodeReader, WrongValue, scalar_text
from shared.suggestion import suggestion
from shared.telemetry import Outcome
from tools.errors import CommandFailed
from tools.events.dead_letters import read_events
from tools.events.documents import Assignment, Document, assigned, parse_assignment
from tools.events.samples import SAMPLE_NAMES, named_sample, sample_files
from tools.routes.cases.updating import plain

FILE_NAME: Final = "routes.test.yaml"
NONE: Final = "none"
OUTCOMES: Final = frozenset(Outcome) - {Outcome.DEFERRED, Outcome.IGNORED, Outcome.COMPLETED, Outcome.CLOSED}
"""The outcomes of an event on a route. The others depend on Azure DevOps, or are those of waiting tasks."""
REQUEST_KEYS: Final = tuple(name for name in RunRequest._fields if name != "correlation_parameter")
RUN_KEYS: Final = ("outcome", "reason", *REQUEST_KEYS)
_KEYS: Final = ("name", "given", "expect", "reason")
_EVENT_KEYS: Final = ("sample", "file", "set")

Expected = Mapping[str, str | Mapping[str, Any]]
"""By route: an outcome, or values under RUN_KEYS. A missing outcome is ``queued``; other missing values may be any."""


class Earlier(NamedTuple):
    """An event that was delivered some time before the event of the case."""

    event: Document
    ago: timedelta


class Case(NamedTuple):
    """An event, and what the routes must decide about it.

    :param expect: exactly the routes that must match; None if the case does not say.
    :param reason: a part of the reason for which nothing is queued.
    :param lines: by route, the line of what is expected.
    """

    name: str
    event: Document
    earlier: tuple[Earlier, ...]
    expect: Expected | None
    reason: str
    node: yaml.MappingNode
    lines: Mapping[str, int]

    @property
    def line(self) -> int:
        """The line at which the case begins."""
        return self.node.start_mark.line + 1


def expected_run(expected: str | Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what is expected of a route, with an outcome."""
    return {"outcome": expected} if isinstance(expected, str) else {"outcome": Outcome.QUEUED.value, **expected}


def read_cases(
    text: str, folder: Path, routes: Collection[str], *, may_lack_expect: bool = False
) -> tuple[list[Case], list[Problem]]:
    """Return the cases without mistakes, and all mistakes.

    :param folder: the folder in which the files of events are.
    :param routes: the names of the routes.
    :param may_lack_expect: whether a case may have no ``expect``.
    """
    reader = _Reader(text, folder, (*routes, UNROUTED), may_lack_expect=may_lack_expect)
    return reader.read(), sorted(reader.problems)


class _Reader:
    def __init__(self, text: str, folder: Path, routes: Collection[str], *, may_lack_expect: bool) -> None:
        self._nodes = NodeReader(text, {})
        self._folder = folder
        self._routes = routes
        self._may_lack_expect = may_lack_expect
        self.problems = self._nodes.problems

    def read(self) -> list[Case]:
        root = self._nodes.root(follows_aliases=True)
        if self.problems:
            return []
        entries = self._nodes.mapping(root, "the file") if root is not None else {}
        if "cases" not in entries:
            self.problems[:] = [Problem(1, 1, "", "the file must have a list 'cases'; see docs/routes.md")]
            return []
        items = self._nodes.sequence(entries["cases"], "cases")
        cases = [self._case(node, number) for number, node in enumerate(items, 1)]
        return [case for case in cases if case is not None]

    def _case(self, node: yaml.Node, number: int) -> Case | None:
        before = len(self.problems)
        entries = self._nodes.mapping(node, "a case", _KEYS)
        expect = None if _is_null(entries.get("expect")) else entries["expect"]
        event: Document | None = None
        earlier: list[Earlier | None] = []
        if len(self.problems) == before and "given" not in entries:
            self._nodes.add_problem(node, "the case has no 'given'; give a sample or a file", text="")
        elif "given" in entries:
            given = self._nodes.mapping(entries["given"], "given", (*_EVENT_KEYS, "after"))
            event = self._event(entries["given"], given, 1)
            items = self._nodes.sequence(given["after"], "after") if "after" in given else []
            earlier = [self._earlier(item, place) for place, item in enumerate(items, 2)]
        if expect is None and not self._may_lack_expect and len(self.problems) == before:
            advice = "the case has no 'expect'; write it, or let './manage.py test --update' do so"
            self._nodes.add_problem(node, advice, text="")
        routes = {} if expect is None else self._routes_of(expect)
        expected = {route: self._run(route_node) for route, route_node in routes.items()}
        name = self._text(entries.get("name")) or str(number)
        reason = self._text(entries.get("reason"))
        if len(self.problems) > before or not isinstance(node, yaml.MappingNode) or event is None:
            return None
        keys = expect.value if isinstance(expect, yaml.MappingNode) else ()
        lines = {key.value: key.start_mark.line + 1 for key, _ in keys}
        known = tuple(each for each in earlier if each is not None)
        return Case(name, event, known, None if expect is None else expected, reason, node, lines)

    def _earlier(self, node: yaml.Node, number: int) -> Earlier | None:
        entries = self._nodes.mapping(node, "an earlier event", (*_EVENT_KEYS, "ago"))
        event = self._event(node, entries, number)
        if "ago" not in entries:
            self._nodes.add_problem(
                node, "the earlier event has no 'ago'; write how long ago it was, as in '2h'", text=""
            )
            return None
        ago = self._nodes.try_read(_duration, entries["ago"])
        return None if event is None or ago is None else Earlier(event, ago)

    def _event(self, node: yaml.Node, entries: Mapping[str, yaml.Node], number: int) -> Document | None:
        """Return an event with its changes.

        :param number: identifies the occurrence. The events of a case are different ones, unless they say otherwise.
        """
        if ("sample" in entries) == ("file" in entries):
            self._nodes.add_problem(node, "an event must have either 'sample' or 'file'")
            return None
        if "sample" in entries:
            event = self._nodes.try_read(partial(_sample, number), entries["sample"])
        else:
            event = self._nodes.try_read(self._from_file, entries["file"])
        changes = self._nodes.mapping(entries["set"], "set") if "set" in entries else {}
        for path, value in changes.items():
            if event is not None:
                event = self._nodes.try_read(partial(self._changed, event, path), value)
        return event

    def _changed(self, event: Document, path: str, node: yaml.Node) -> Document:
        try:
            parsed = parse_assignment(f"{path}=")
        except ValueError:
            parsed = None
        if parsed is None or parsed.value:  # the path contains an equal sign
            raise WrongValue(f"'{path}' must be a path such as data.runId")
        try:
            return assigned(event, [Assignment(parsed.path, self._value(node))])
        except CommandFailed as exc:
            raise WrongValue(str(exc).removeprefix("--set ")) from exc

    def _from_file(self, node: yaml.Node) -> Document:
        path = self._folder / scalar_text(node)
        if path.exists() and not path.is_file():  # a device or pipe may have no end
            raise WrongValue("is not a file; name a file with one event")
        try:
            letters = read_events([str(path)], io.BytesIO())
        except CommandFailed as exc:
            raise WrongValue(str(exc)) from exc
        event = json.loads(letters[0].text)
        if len(letters) != 1 or not isinstance(event, dict):
            raise WrongValue("must contain one event, which is a JSON object")
        return event

    def _routes_of(self, node: yaml.Node) -> dict[str, yaml.Node]:
        """Return the node of each route in ``expect``."""
        if isinstance(node, yaml.ScalarNode):
            if node.value != NONE:
                self._nodes.add_problem(node, f"expect must be a mapping of routes, or '{NONE}'")
            return {}
        routes = self._nodes.mapping(node, "expect")
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if key.value in routes and key.value not in self._routes:
                self._nodes.add_problem(key, f"there is no such route; {suggestion(key.value, self._routes)}")
        return routes

    def _run(self, node: yaml.Node) -> str | Mapping[str, Any]:
        if isinstance(node, yaml.ScalarNode) and not _is_null(node):
            return self._nodes.try_read(_outcome, node) or ""
        entries = {} if _is_null(node) else self._nodes.mapping(node, "a route", RUN_KEYS)
        run = {key: self._value(value) for key, value in entries.items()}
        if "outcome" in entries:
            run["outcome"] = self._nodes.try_read(_outcome, entries["outcome"])
        if "reason" in entries:
            run["reason"] = self._text(entries["reason"])
        return run

    def _value(self, node: yaml.Node) -> Any:
        if isinstance(node, yaml.MappingNode):
            return {key: self._value(value) for key, value in self._nodes.mapping(node, "the object").items()}
        if isinstance(node, yaml.SequenceNode):
            return [self._value(item) for item in node.value]
        return self._nodes.try_read(plain, node)

    def _text(self, node: yaml.Node | None) -> str:
        return (self._nodes.try_read(scalar_text, node) or "") if node is not None else ""


def _is_null(node: yaml.Node | None) -> bool:
    return node is None or node.tag == f"{TAG}null"


def _duration(node: yaml.Node) -> timedelta:
    try:
        return parse_duration(scalar_text(node))
    except ValueError as exc:
        raise WrongValue(str(exc)) from exc


def _outcome(node: yaml.Node) -> str:
    text = scalar_text(node)
    if text not in OUTCOMES:
        raise WrongValue(f"is not an outcome; {suggestion(text, OUTCOMES)}")
    return text


def _sample(number: int, node: yaml.Node) -> Document:
    name = scalar_text(node)
    try:
        return named_sample(name, number)
    except KeyError as exc:
        raise WrongValue(f"is not a sample event; {suggestion(name, [*SAMPLE_NAMES, *sample_files()])}") from exc
