"""Cases for a dispatch table: an event, and the runs that the routes must queue for it.

``routes.test.yaml`` holds them next to routes.yaml. ``./manage.py test`` runs them, and docs/routes.md has the format.
"""

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from shared.deciding import Verdict
from shared.routing import yaml_documents
from shared.routing.table import Match
from shared.suggestion import suggestion
from tools.errors import CommandFailed
from tools.events.dead_letters import read_events
from tools.events.documents import Assignment, Document, assigned, parse_assignment
from tools.events.samples import SAMPLE_NAMES, sample_event

FILE_NAME: Final = "routes.test.yaml"
NONE: Final = "none"
_KEYS: Final = ("name", "given", "expect", "reason")
_GIVEN_KEYS: Final = ("sample", "file", "set")
_EXPECT_KEYS: Final = ("pipeline", "parameters")


@dataclass(frozen=True, slots=True)
class Case:
    """One event and what the routes must decide about it.

    :param runs: by route, the expected ``pipeline`` and ``parameters``; a key that is missing is not compared.
    :param reason: a part of the reason for which nothing is queued.
    """

    name: str
    event: Document
    runs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    reason: str = ""

    def differences(self, decide: Callable[[str], Verdict]) -> list[str]:
        """Return how the decision differs from what is expected; an empty list if it does not."""
        verdict = decide(json.dumps(self.event))
        decided = {decision.key.route: decision for decision in verdict.decisions}
        found = []
        for route, expected in self.runs.items():
            match decided.get(route):
                case Match(request=request):
                    actual: dict[str, Any] = {"pipeline": request.pipeline, "parameters": dict(request.parameters)}
                    for key, value in expected.items():
                        found += _compared(f"{route}: {key}", value, actual[key])
                case None:
                    reasons = [why.reason for why in verdict.why_not if why.route == route]
                    found.append(f"{route}: queues no run: {(reasons or [verdict.why_nothing or 'no such route'])[0]}")
                case refusal:
                    found.append(f"{route}: the event is parked: {refusal.reason}")
        found += [f"{route}: is not expected to match" for route in decided if route not in self.runs]
        if decided and self.reason:
            found.append(f"a route matches, so there is no reason as expected: {self.reason}")
        elif self.reason not in verdict.why_nothing:
            found.append(f"the reason is not as expected: {verdict.why_nothing}")
        return found


def read_cases(file: Path) -> list[Case]:
    """Read all cases of a file.

    :raises CommandFailed: the file cannot be read, or one of its cases is wrong.
    """
    try:
        document = yaml_documents.load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as exc:
        raise CommandFailed(f"{file} cannot be read ({' '.join(str(exc).split())}); see docs/routes.md") from exc
    cases = document.get("cases") if isinstance(document, dict) else None
    if not isinstance(cases, list):
        raise CommandFailed(f"{file} must have a list 'cases'; see docs/routes.md")
    return [_case(each, file, number) for number, each in enumerate(cases, 1)]


def _case(document: Any, file: Path, number: int) -> Case:
    where = f"{file}: case {number}"
    case = _object(document, where, _KEYS)
    given = _object(case.get("given"), f"{where}: given", _GIVEN_KEYS)
    expect = case.get("expect")
    runs = {} if expect == NONE else _object(expect, f"{where}: expect (a mapping of routes, or 'none')", None)
    expected = {str(route): _object(run, f"{where}: {route}", _EXPECT_KEYS) for route, run in runs.items()}
    return Case(str(case.get("name") or number), _event(given, file, where), expected, str(case.get("reason", "")))


def _event(given: Mapping[str, Any], file: Path, where: str) -> Document:
    """Return the event of a case, with its changes."""
    changes = _object(given.get("set") or {}, f"{where}: set", None)
    assignments = [_assignment(path, value, where) for path, value in changes.items()]
    if ("sample" in given) == ("file" in given):
        raise CommandFailed(f"{where}: given must have 'sample' or 'file'")
    if "file" in given:
        return assigned(_from_file(file.parent / str(given["file"]), where), assignments)
    sample = str(given["sample"])
    if sample not in SAMPLE_NAMES:
        raise CommandFailed(f"{where}: there is no sample '{sample}'; {suggestion(sample, SAMPLE_NAMES)}")
    return assigned(sample_event(sample), assignments)


def _assignment(path: str, value: Any, where: str) -> Assignment:
    """Return the assignment for a path such as ``data.runId``."""
    try:
        parsed = parse_assignment(f"{path}=")
    except ValueError:
        parsed = None
    if parsed is None or parsed.value:  # the path contains an equal sign
        raise CommandFailed(f"{where}: '{path}' must be a path such as data.runId")
    return Assignment(parsed.path, value)


def _from_file(path: Path, where: str) -> Document:
    letters = read_events([str(path)], io.BytesIO())
    if len(letters) != 1:
        raise CommandFailed(f"{where}: {path} must contain one event")
    event: Document = json.loads(letters[0].text)
    return event


def _object(value: Any, where: str, keys: tuple[str, ...] | None) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise CommandFailed(f"{where} must be an object; see docs/routes.md")
    unknown = [str(key) for key in value if keys is not None and key not in keys]
    if unknown:
        raise CommandFailed(f"{where} has an unknown key '{unknown[0]}'; {suggestion(unknown[0], keys or ())}")
    return value


def _compared(what: str, expected: Any, actual: Any) -> list[str]:
    if not isinstance(expected, dict) or not isinstance(actual, dict):
        return [] if _is_equal(expected, actual) else [f"{what} is {actual!r}, expected {expected!r}"]
    found = []
    for name in {**expected, **actual}:
        if name not in actual:
            found.append(f"{what}: {name} is missing, expected {expected[name]!r}")
        elif name not in expected:
            found.append(f"{what}: {name} is {actual[name]!r}, but not expected")
        else:
            found += _compared(f"{what}: {name}", expected[name], actual[name])
    return found


def _is_equal(expected: Any, actual: Any) -> bool:
    """Return whether a value is as expected. Parameters are strings: ``7``, ``true`` and objects mean their JSON."""
    text = str(actual)
    if isinstance(expected, str):
        return expected == text
    try:
        found = json.loads(text.lower() if isinstance(expected, bool) else text)
    except ValueError:
        return False
    return json.dumps(found, sort_keys=True) == json.dumps(expected, sort_keys=True)
