"""What the page Routes shows of routes.yaml, and of what happened on each route."""

import math
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple
from urllib.parse import quote

from handlers import NAMES
from shared.durations import short_duration
from shared.journal.records import State
from shared.routing.table import Route
from tools.files import read_text, shown_path
from tools.installation import Installation
from tools.page.reading.statistics import RouteStatistics
from tools.presentation import finding_words
from tools.routes.chain.chain import Chain, chain_of, pipeline_label, pipeline_of
from tools.routes.chain.labels import SWITCHED_OFF, route_notes
from tools.routes.checks import check, summary_words
from tools.routes.findings import Finding, Severity

_MAX_LINE: Final = 200


class Remark(NamedTuple):
    """A finding of the command ``check``, with the line of the file that it is about."""

    finding: Finding
    words: str
    line: str


class RoutesFile(NamedTuple):
    """The dispatch table as the command ``check`` sees it.

    :param summary: how many routes or findings there are.
    :param is_invalid: whether the app refuses to start with this file. The chain then lacks routes.
    :param remarks: the errors first.
    :param lines: the line of each route, by its name.
    """

    name: str
    summary: str
    is_invalid: bool
    remarks: tuple[Remark, ...]
    chain: Chain
    lines: Mapping[str, int]


class RouteRow(NamedTuple):
    """One route, and what happened on it in the period.

    :param line: where it begins in the file.
    :param notes: its condition, and its other rules for queuing a run, except that it is switched off.
    :param pipeline_url: the pipeline's page in Azure DevOps; the page of all pipelines if only its name is known.
    :param statistics: None if nothing happened, or that is not known.
    """

    route: Route
    line: int
    notes: tuple[str, ...]
    pipeline: str
    pipeline_url: str
    statistics: RouteStatistics | None

    @property
    def success(self) -> str:
        """The share of events that queued a run, rounded down; empty if it is not known."""
        share = None if self.statistics is None else self.statistics.success_share
        return "" if share is None else f"{math.floor(share * 1000) / 10:g} %"

    @property
    def delays(self) -> str:
        """The delays within which half of the runs, and 95 % of them, were queued; empty if they are not known."""
        if self.statistics is None or self.statistics.half is None or self.statistics.most is None:
            return ""
        return f"{short_duration(self.statistics.half)} / {short_duration(self.statistics.most)}"


def read_routes_file(installation: Installation) -> RoutesFile:
    """Read and check routes.yaml.

    :raises CommandFailed: the file cannot be read.
    """
    file = installation.settings.routes_file
    text = read_text(file)
    reading, findings = check(text, file, NAMES, installation.environment)
    lines = text.splitlines()
    return RoutesFile(
        shown_path(file),
        summary_words(reading, findings),
        bool(reading.problems),
        tuple(
            Remark(each, finding_words(each), _line(lines, each.line))
            for each in sorted(findings, key=lambda one: one.severity is not Severity.ERROR)
        ),
        chain_of(reading.table.routes),
        {route.name: reading.places[route.name,][0] for route in reading.table.routes},
    )


def rows(file: RoutesFile, statistics: Mapping[str, RouteStatistics]) -> list[RouteRow]:
    """Return a row for each route, in the order of the file."""
    return [
        RouteRow(
            route,
            file.lines[route.name],
            tuple(note for note in route_notes(route) if note != SWITCHED_OFF),
            pipeline_label(pipeline_of(route), file.chain),
            pipeline_url(route),
            statistics.get(route.name),
        )
        for route in file.chain.routes
    ]


def counts_words(counts: Mapping[State, int]) -> str:
    """Return ``12 queued, 1 parked``."""
    return ", ".join(f"{count} {state}" for state, count in counts.items())


def pipeline_url(route: Route) -> str:
    """Return the page of a pipeline; if the route gives its name and not its id, the page of all pipelines."""
    pipelines = f"{route.organization_url}/{quote(route.project)}/_build"
    return f"{pipelines}/definition?definitionId={route.pipeline}" if isinstance(route.pipeline, int) else pipelines


def _line(lines: Sequence[str], number: int) -> str:
    return lines[number - 1].strip()[:_MAX_LINE] if number <= len(lines) else ""
