"""What a check finds: an error or a warning, with its place. Pure."""

from dataclasses import dataclass
from enum import StrEnum

from shared.errors import Problem
from shared.routing.routes_file import Place, Reading


class Severity(StrEnum):
    """An error stops the app at its start; a warning does not."""

    ERROR = "error"
    WARNING = "warning"


class Rule(StrEnum):
    """What kind of finding it is, for programs."""

    INVALID = "invalid"
    UNSET_ENVIRONMENT = "unset-environment"
    NEVER_MATCHES = "never-matches"
    ALWAYS_TRUE = "always-true"
    ALWAYS_PARKS = "always-parks"
    SHADOWED = "shadowed"
    OVERLAP = "overlap"
    LOOP = "loop"
    CAUSE_VALUE = "cause-value"
    PIPELINE_FILE = "pipeline-file"
    UNDECLARED_PARAMETER = "undeclared-parameter"
    MISSING_PARAMETER = "missing-parameter"
    PARAMETER_VALUE = "parameter-value"


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One thing that was found. ``line`` and ``column`` count from 1.

    :param text: what it is about, as the file has it; empty where something is missing, or a whole route is meant.
    :param message: what is wrong.
    :param suggestion: what would be right; empty where nothing is to be said.
    """

    line: int
    column: int
    severity: Severity
    rule: Rule
    text: str
    message: str
    suggestion: str = ""


def of_problem(problem: Problem, severity: Severity, rule: Rule) -> Finding:
    """What the reader of the file has found."""
    return Finding(problem.line, problem.column, severity, rule, problem.text, problem.what, problem.suggestion)


def warning(place: Place, rule: Rule, text: str, message: str, suggestion: str = "") -> Finding:
    """Something that is no mistake to the reader of the file, and yet one to its writer."""
    return Finding(*place, Severity.WARNING, rule, text, message, suggestion)


def place_of(reading: Reading, *path: str) -> Place:
    """Where a route's key stands, or the route where the key is not in it."""
    return reading.places.get(path) or reading.places[path[0],]
