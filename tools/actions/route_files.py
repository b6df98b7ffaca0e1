"""The files of a new route: routes.yaml, routes.test.yaml and the pipeline's YAML, checked before any is written."""

import contextlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from handlers import DISPATCH, NAMES, event_type
from shared.deciding import decide
from shared.routing.table import Match, RouteTable
from tools.errors import CommandFailed
from tools.files import read_text, shown_path
from tools.presentation import counted, finding_words
from tools.routes import pipeline_files
from tools.routes.cases.reading import FILE_NAME as CASES_FILE
from tools.routes.checks import check
from tools.routes.findings import Finding, Rule, Severity
from tools.routes.matching_events import NoEvent, matching_event
from tools.routes.new_route import NewRoute, case_entry, changes, pipeline_text, with_item

# A new route with any other finding is not written.
_TOLERATED: Final = {
    *(Rule.UNSET_ENVIRONMENT, Rule.UNKNOWN_TYPE, Rule.OVERLAP, Rule.SHADOWED),
    *(Rule.AMBIGUOUS, Rule.ALWAYS_TRUE, Rule.LOOP),
}
_CASES_HEAD: Final = """\
# Cases for routes.yaml: an event, and the runs that it must queue. './manage.py test' runs them; docs/routes.md has the
# format.
cases: []
"""


@dataclass(frozen=True, slots=True)
class Draft:
    """The files of a new route, checked and not yet written.

    :param files: the new text of each file, in the order in which to write them.
    :param warnings: what is probably wrong with the new route.
    :param changed: how the event of the test case differs from the sample event.
    """

    files: Mapping[Path, str]
    warnings: tuple[Finding, ...]
    changed: Mapping[str, Any]


class RouteFiles:
    """The files next to a dispatch table."""

    def __init__(self, routes_file: Path, environment: Mapping[str, str]) -> None:
        """Read the table.

        :raises CommandFailed: it cannot be read, or has errors.
        """
        self._file = routes_file
        self._environment = environment
        self._text = read_text(routes_file)
        self._table, self._findings = self._checked(self._text)
        if errors := [finding for finding in self._findings if finding.severity is Severity.ERROR]:
            raise CommandFailed(
                f"{shown_path(routes_file)} has {counted(len(errors), 'error')}; run './manage.py check' and correct it"
            )

    @property
    def names(self) -> set[str]:
        """The names of the routes."""
        return {route.name for route in self._table.routes}

    def usual_parameters(self, event: str, pipeline: str) -> list[str]:
        """Return the names of the event for the parameters that the pipeline declares, or that identify the event."""
        names = event_type(event).names
        path = pipeline_files.find(self._file, pipeline)
        if path is None:
            return [name for name, each in names.items() if each.kind == "string" and each.key and not each.may_be_null]
        with contextlib.suppress(pipeline_files.UnreadablePipeline):
            declared = pipeline_files.read(path).values()
            snake_case = [re.sub(r"(?<!^)(?=[A-Z])", "_", each.name).lower() for each in declared]
            return [name for name in snake_case if name in names]
        return []

    def draft(self, route: NewRoute) -> Draft:
        """Return the files with the new route.

        :raises CommandFailed: the route is wrong, or no event is found that it matches.
        """
        text = self._with_item(self._file, self._text, "routes", route.entry())
        table, findings = self._checked(text)
        fresh = [each for each in findings if _kind(each) not in {_kind(known) for known in self._findings}]
        if wrong := [each for each in fresh if each.rule not in _TOLERATED]:
            shown = [finding_words(each) + (f"; {each.suggestion}" if each.suggestion else "") for each in wrong]
            raise CommandFailed("the route is wrong, so nothing was written:\n" + "\n".join(shown))
        made = matching_event(next(each for each in table.routes if each.name == route.name))
        if isinstance(made, NoEvent):
            raise CommandFailed(f"no event is found that the route matches, so nothing was written: {made.reason}")
        changed = changes(route.event, json.loads(made.text))
        matches = [each for each in decide(made.text, DISPATCH, table).decisions if isinstance(each, Match)]
        runs = {
            each.key.route: {"pipeline": each.request.pipeline, "parameters": dict(each.request.parameters)}
            for each in matches
        }
        cases = self._file.with_name(CASES_FILE)
        known = read_text(cases) if cases.exists() else _CASES_HEAD
        case = case_entry(route.name, route.event, changed, runs)
        files = {**self._pipeline(route), cases: self._with_item(cases, known, "cases", case), self._file: text}
        return Draft(files, tuple(each for each in fresh if each.rule is not Rule.UNSET_ENVIRONMENT), changed)

    def _checked(self, text: str) -> tuple[RouteTable, list[Finding]]:
        reading, findings = check(text, self._file, NAMES, self._environment)
        return reading.table, findings

    @staticmethod
    def _with_item(file: Path, text: str, key: str, lines: Sequence[str]) -> str:
        try:
            return with_item(text, key, lines)
        except CommandFailed as exc:
            raise CommandFailed(f"{shown_path(file)}: {exc}") from exc

    def _pipeline(self, route: NewRoute) -> dict[Path, str]:
        """Return the pipeline's file, unless it exists."""
        if pipeline_files.find(self._file, route.pipeline) is not None:
            return {}
        folder = self._file.parent / pipeline_files.FOLDER
        has_check = (folder / "templates" / "stage-parameters.yml").is_file()
        name = route.pipeline.rpartition("\\")[2]
        return {folder / f"{name}.yml": pipeline_text(route, with_check=has_check)}


def write(files: Mapping[Path, str]) -> None:
    """Write the files. If one cannot be written, restore those that were.

    :raises CommandFailed: a file cannot be written.
    """
    before = {file: file.read_text(encoding="utf-8") if file.exists() else None for file in files}
    try:
        for file, text in files.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
    except OSError as exc:
        for file, old in before.items():
            with contextlib.suppress(OSError):
                file.unlink(missing_ok=True) if old is None else file.write_text(old, encoding="utf-8")
        raise CommandFailed(f"{exc.filename} cannot be written ({exc.strerror}); nothing was changed") from exc


def _kind(finding: Finding) -> tuple[Rule, str, str]:
    """Return what identifies a finding, whatever its line."""
    return finding.rule, finding.text, finding.message
