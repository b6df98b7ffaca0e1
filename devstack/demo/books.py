"""Compares the expected pipeline runs with the runs in the emulator's books."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from handlers import DISPATCH
from shared.azure_devops.runs import RunRequest
from shared.deciding import decide
from shared.journal.records import JournalKey
from shared.resume.period import group_key
from shared.routing.table import GatheredRun, Match, RouteTable


@dataclass(frozen=True)
class Comparison:
    """The numbers of runs that were queued, lost and duplicated."""

    queued: int
    lost: int
    duplicated: int


ExpectedRun = list[RunRequest]
"""The requests that may have queued one expected run: several if occurrences share a cooldown window, or are gathered.
"""


def expected_runs(routes: RouteTable, events: Iterable[str]) -> list[ExpectedRun]:
    """Return the runs that the routes queue for events: one for each occurrence, cooldown window or gathered group.

    Each group is one period, and its run does not say when the period began.
    """
    expected: dict[str, ExpectedRun] = {}
    groups: dict[JournalKey, dict[str, str]] = {}
    for event in events:
        for match in _matches(routes, event):
            if match.gather is not None:
                groups.setdefault(group_key(match.key.route, match.gather.by), {})[match.key.key] = event
            else:
                shared = None if match.window is None else f"{match.key.route} {match.window.key}"
                expected.setdefault(shared or match.key.key, []).append(match.request)
    return [*expected.values(), *(_of_group(routes, group, [*events.values()]) for group, events in groups.items())]


def _of_group(routes: RouteTable, group: JournalKey, events: Sequence[str]) -> ExpectedRun:
    """Return the requests that may have queued the run of a group: each of its events may be the last one."""
    run = GatheredRun(group, len(events), datetime.min.replace(tzinfo=UTC))
    return [match.request for event in events for match in _matches(routes, event, run) if match.key == group]


def _matches(routes: RouteTable, event: str, gathered: GatheredRun | None = None) -> Iterator[Match]:
    decisions = decide(event, DISPATCH, routes, gathered).decisions
    return (decision for decision in decisions if isinstance(decision, Match))


def compare(expected: Iterable[ExpectedRun], runs: Iterable[Mapping[str, Any]]) -> Comparison:
    """Pair each queued run with an expected run. Expected runs that remain are lost, queued ones are duplicated.

    :param runs: ``runs`` of the emulator's books.
    """
    unmatched = dict(enumerate(expected))
    by_parameters: dict[frozenset[tuple[str, str]], list[int]] = {}
    for number, requests in unmatched.items():
        for request in requests:
            by_parameters.setdefault(frozenset(request.parameters.items()), []).append(number)
    queued = duplicated = 0
    for run in runs:
        queued += 1
        # Most runs have exactly the parameters of their request. For the others, search all expected runs.
        likely = by_parameters.get(frozenset(run["templateParameters"].items()), ())
        candidates = (number for numbers in (likely, unmatched) for number in numbers if number in unmatched)
        found = next(
            (number for number in candidates if any(_is_of(run, request) for request in unmatched[number])), None
        )
        if found is None:
            duplicated += 1
        else:
            del unmatched[found]
    return Comparison(queued, len(unmatched), duplicated)


def _is_of(run: Mapping[str, Any], request: RunRequest) -> bool:
    """Return whether a run results from a request. A run also has the pipeline's default parameters."""
    pipeline = request.pipeline
    names = {run["pipelineId"]} if isinstance(pipeline, int) else {run["pipelineName"].lower()}
    name = pipeline if isinstance(pipeline, int) else pipeline.rpartition("\\")[2].lower()
    return name in names and request.parameters.items() <= run["templateParameters"].items()
