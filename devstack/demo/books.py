"""Compares the expected pipeline runs with the runs in the emulator's books."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from devstack.events import sample_text
from handlers import DISPATCH
from shared.azure_devops.runs import RunRequest
from shared.deciding import decide
from shared.routing.table import Match, RouteTable


@dataclass(frozen=True)
class Comparison:
    """The numbers of runs that were queued, lost and duplicated."""

    queued: int
    lost: int
    duplicated: int


ExpectedRun = list[RunRequest]
"""The requests that may have queued one expected run: several if occurrences share a cooldown window."""


def expected_runs(routes: RouteTable, samples: Iterable[str]) -> list[ExpectedRun]:
    """Return the runs that the routes queue for the samples: one for each occurrence or cooldown window."""
    expected: dict[str, ExpectedRun] = {}
    for sample in samples:
        for decision in decide(sample_text(sample), DISPATCH, routes).decisions:
            if isinstance(decision, Match):
                shared = None if decision.window is None else f"{decision.key.route} {decision.window.key}"
                expected.setdefault(shared or decision.key.key, []).append(decision.request)
    return list(expected.values())


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
            (number for number in candidates if any(_matches(run, request) for request in unmatched[number])), None
        )
        if found is None:
            duplicated += 1
        else:
            del unmatched[found]
    return Comparison(queued, len(unmatched), duplicated)


def _matches(run: Mapping[str, Any], request: RunRequest) -> bool:
    """Return whether a run results from a request. A run also has the pipeline's default parameters."""
    pipeline = request.pipeline
    names = {run["pipelineId"]} if isinstance(pipeline, int) else {run["pipelineName"].lower()}
    name = pipeline if isinstance(pipeline, int) else pipeline.rpartition("\\")[2].lower()
    return name in names and request.parameters.items() <= run["templateParameters"].items()
