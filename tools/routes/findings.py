"""The findings of a check: errors and warnings, with their places. Pure."""

from dataclasses import dataclass
from enum import StrEnum

from shared.errors import Problem
from shared.routing.routes_file import Place, Reading


class Severity(StrEnum):
    """An error keeps the app from starting, or lets values of events become YAML of a pipeline."""

    ERROR = "error"
    WARNING = "warning"


class Rule(StrEnum):
    """The kind of a finding, for programs."""

    INVALID = "invalid"
    UNSET_ENVIRONMENT = "unset-environment"
    NO_ROUTES = "no-routes"
    UNKNOWN_TYPE = "unknown-type"
    LITERAL_TEXT = "literal-text"
    NEVER_MATCHES = "never-matches"
    WRONG_KIND = "wrong-kind"
    WRONG_FORM = "wrong-form"
    ALWAYS_TRUE = "always-true"
    ALWAYS_PARKS = "always-parks"
    SHADOWED = "shadowed"
    OVERLAP = "overlap"
    AMBIGUOUS = "ambiguous"
    LOOP = "loop"
    CAUSE_VALUE = "cause-value"
    PIPELINE_FILE = "pipeline-file"
    UNDECLARED_PARAMETER = "undeclared-parameter"
    MISSING_PARAMETER = "missing-parameter"
    PARAMETER_VALUE = "parameter-value"
    YAML_VALUE = "yaml-value"


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One error or warning. ``line`` and ``column`` count from 1.

    :param text: the text in the file; empty if something is missing, or the finding concerns the whole route.
    :param message: what is wrong.
    :param suggestion: what would be right; empty if unknown.
    """

    line: int
    column: int
    severity: Severity
    rule: Rule
    text: str
    message: str
    suggestion: str = ""


def from_problem(problem: Problem, severity: Severity, rule: Rule) -> Finding:
    """Return the finding for a problem that was found while the file was read."""
    return Finding(problem.line, problem.column, severity, rule, problem.text, problem.what, problem.suggestion)


def warning(place: Place, rule: Rule, text: str, message: str, suggestion: str = "") -> Finding:
    """Return a warning: an entry that the app accepts, but that is probably a mistake."""
    return Finding(*place, Severity.WARNING, rule, text, message, suggestion)


def place_of(reading: Reading, *path: str) -> Place:
    """Return the place of a route's key, or of the route if it does not have the key."""
    return reading.places.get(path) or reading.places[path[0],]
