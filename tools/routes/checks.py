"""Checks a dispatch table for errors, which the app refuses, and for entries that are probably mistakes."""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Final

from shared.routing.routes_file import Reading, read_routes
from shared.routing.table import Route, gathers
from shared.routing.templates import Template
from shared.suggestion import suggestion
from tools.presentation import counted
from tools.routes import pipeline_files
from tools.routes import warnings as route_warnings
from tools.routes.chain import chain
from tools.routes.findings import Finding, Rule, Severity, from_problem, place_of, warning
from tools.routes.pipeline_files import DeclaredParameter, UnreadablePipeline
from tools.routes.yaml_values import YAML_TYPES, looks_like_yaml, parses_a_value

_Declared = Mapping[str, DeclaredParameter]

_THEN: Final = "if that file is the pipeline, Azure DevOps refuses the run"
_QUOTE: Final = """put each placeholder in double quotes, as in [{"run": "{{ run_id }}"}], or pass it as a string"""
_RESUME: Final = ("RESUME_STORAGE", "RESUME_STORAGE__queueServiceUri")
_FINDERS: Final = (
    route_warnings.type_warnings,
    route_warnings.condition_warnings,
    route_warnings.template_warnings,
    route_warnings.pair_warnings,
    chain.loop_warnings,
    chain.cause_warnings,
)


def check(
    text: str, file: Path, names: Mapping[str, Collection[str]], environment: Mapping[str, str]
) -> tuple[Reading, list[Finding]]:
    """Return all findings in the file's order. An error in one place does not prevent checks of the rest.

    :param file: the file of the text; pipeline files are searched for next to it.
    :param names: for each event type, the names that its handler offers.
    """
    reading = read_routes(text, names=names, environment=environment)
    findings = [from_problem(problem, Severity.ERROR, Rule.INVALID) for problem in reading.problems]
    # Only a warning, because the value may be set where the app runs.
    findings += [from_problem(problem, Severity.WARNING, Rule.UNSET_ENVIRONMENT) for problem in reading.unset]
    findings += [from_problem(problem, Severity.WARNING, Rule.LITERAL_TEXT) for problem in reading.literal]
    if not (reading.table.routes or reading.problems or reading.unset):
        message = "there is no route, so no event queues a pipeline"
        findings.append(warning(reading.places[()], Rule.NO_ROUTES, "", message, "add a route"))
    findings += resume_warnings(reading, environment)
    for find in _FINDERS:
        findings += find(reading)
    findings += pipeline_warnings(reading, file)
    return reading, sorted(findings)


def summary_words(reading: Reading, findings: Collection[Finding]) -> str:
    """Return ``7 routes, nothing is wrong``, or how many findings there are."""
    if not findings:
        return f"{counted(len(reading.table.routes), 'route')}, nothing is wrong"
    return ", ".join(counted(count(findings, severity), severity) for severity in Severity)


def count(findings: Collection[Finding], severity: Severity) -> int:
    """Return how many findings have this severity."""
    return sum(finding.severity is severity for finding in findings)


def resume_warnings(reading: Reading, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Yield a warning for each route that gathers, if there is no resume queue here. The app may have one."""
    if any(environment.get(name) for name in _RESUME):
        return
    for route in filter(gathers, reading.table.routes):
        message = "needs a resume queue, and none is set here; without it, the app does not start"
        place = place_of(reading, route.name, "gather")
        yield warning(place, Rule.UNSET_ENVIRONMENT, "gather", message, f"set {' or '.join(_RESUME)}")


def pipeline_warnings(reading: Reading, file: Path) -> Iterator[Finding]:
    """Yield a finding for each difference between the routes and the pipeline files next to routes.yaml."""
    for route in reading.table.routes:
        path = pipeline_files.find(file, route.pipeline)
        if path is None:
            yield from _perhaps_parsed(reading, route)
            continue
        shown = f"{pipeline_files.FOLDER}/{path.name}"
        try:
            declared = pipeline_files.read(path)
        except UnreadablePipeline as exc:
            yield warning(place_of(reading, route.name, "pipeline"), Rule.PIPELINE_FILE, shown, str(exc))
        else:
            yield from _given(reading, route, shown, declared)
            yield from _not_given(reading, route, shown, declared)


def _given(reading: Reading, route: Route, file: str, found: _Declared) -> Iterator[Finding]:
    """Yield a finding for each parameter that the route gives and the file does not accept."""
    declared = [parameter.name for parameter in found.values()]
    given: dict[str, Template | None] = dict(route.parameters)
    if route.correlation_parameter is not None:
        given[route.correlation_parameter] = None
    for name, template in given.items():
        path = (route.name, "parameters", name) if template is not None else (route.name, "correlation_parameter")
        parameter = found.get(name.lower())
        if parameter is None:
            advice = suggestion(name, declared) if declared else "it declares none"
            message = f"{file} declares no such parameter; {_THEN}"
            yield warning(place_of(reading, *path), Rule.UNDECLARED_PARAMETER, name, message, advice)
            continue
        if template is not None and parameter.type.lower() in YAML_TYPES and parses_a_value(template):
            message = f"{file} declares the type {parameter.type}, so the value of a placeholder is parsed as YAML"
            place = place_of(reading, *path)
            yield Finding(*place, Severity.ERROR, Rule.YAML_VALUE, f"{name}: {template.text}", message, _QUOTE)
        literal = _literal(template)
        if literal is not None and (refusal := parameter.refusal(literal)) is not None:
            message = f"{refusal} ({file})"
            yield warning(place_of(reading, *path), Rule.PARAMETER_VALUE, f"{name}: {literal}", message)


def _perhaps_parsed(reading: Reading, route: Route) -> Iterator[Finding]:
    """Yield a warning for each parameter of unknown type that looks like YAML and has a placeholder in it."""
    for name, template in route.parameters.items():
        if looks_like_yaml(template) and parses_a_value(template):
            message = "if the pipeline parses this text, the value of a placeholder may add to it, for example a step"
            place = place_of(reading, route.name, "parameters", name)
            yield warning(place, Rule.YAML_VALUE, f"{name}: {template.text}", message, _QUOTE)


def _not_given(reading: Reading, route: Route, file: str, found: _Declared) -> Iterator[Finding]:
    """Yield a warning for each parameter that the file requires and the route does not give."""
    given = {name.lower() for name in (*route.parameters, route.correlation_parameter or "")}
    for name, parameter in found.items():
        if parameter.default is None and name not in given:
            message = f"{file} requires this parameter; {_THEN}"
            example = f""", such as {parameter.name}: {{"id": "{{{{ … }}}}"}}""" if parameter.type == "object" else ""
            advice = f"set it under 'parameters'{example}, or declare a default in the file"
            place = place_of(reading, route.name, "parameters")
            yield warning(place, Rule.MISSING_PARAMETER, parameter.name, message, advice)


def _literal(template: Template | None) -> str | None:
    """Return the value of a template without placeholders and environment values; None for other templates.

    Objects and lists are returned with their placeholders, because the form is known all the same.
    """
    if template is not None and template.is_json:
        return template.text
    if template is None or "${" in template.text or not all(isinstance(part, str) for part in template.parts):
        return None
    return template.text
