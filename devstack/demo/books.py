"""Holds what should have happened against what Azure DevOps' own books say has happened."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from devstack.events import sample_text
from handlers import DISPATCH
from shared.azure_devops.runs import RunRequest
from shared.events.event import Occurrence, parse_event
from shared.routing.table import Match, RouteTable


@dataclass(frozen=True)
class Comparison:
    """How many runs were queued, and how many of them are missing or too many."""

    queued: int
    lost: int
    doubled: int


Wanted = list[RunRequest]
"""One run that is wanted; where several occurrences share a cooldown window, any of their requests will do."""


def wanted_runs(routes: RouteTable, samples: Iterable[str]) -> list[Wanted]:
    """What the routes say of the samples, each occurrence and each cooldown window once."""
    wanted: dict[str, Wanted] = {}
    for sample in samples:
        event = parse_event(sample_text(sample))
        meaning = DISPATCH[event.type](event)
        if isinstance(meaning, Occurrence):
            for decision in routes.resolve(event, meaning).decisions:
                if isinstance(decision, Match):
                    shared = None if decision.window is None else f"{decision.key.route} {decision.window.key}"
                    wanted.setdefault(shared or decision.key.key, []).append(decision.request)
    return list(wanted.values())


def compare(wanted: Iterable[Wanted], runs: Iterable[Mapping[str, Any]]) -> Comparison:
    """Pair each run with a request that it answers; a request without a run is lost, a run without one is double.

    :param runs: ``runs`` of the emulator's books.
    """
    still_open = dict(enumerate(wanted))
    by_parameters: dict[frozenset[tuple[str, str]], list[int]] = {}
    for number, requests in still_open.items():
        for request in requests:
            by_parameters.setdefault(frozenset(request.parameters.items()), []).append(number)
    queued = doubled = 0
    for run in runs:
        queued += 1
        # Most runs carry just what was sent; only for the others everything is looked through.
        likely = by_parameters.get(frozenset(run["templateParameters"].items()), ())
        candidates = (number for numbers in (likely, still_open) for number in numbers if number in still_open)
        answered = next(
            (number for number in candidates if any(_answers(run, one) for one in still_open[number])), None
        )
        if answered is None:
            doubled += 1
        else:
            del still_open[answered]
    return Comparison(queued, len(still_open), doubled)


def _answers(run: Mapping[str, Any], request: RunRequest) -> bool:
    """A run may carry more parameters than were sent, since the pipeline's defaults are filled in."""
    pipeline = request.pipeline
    names = {run["pipelineId"]} if isinstance(pipeline, int) else {run["pipelineName"].lower()}
    wanted = pipeline if isinstance(pipeline, int) else pipeline.rpartition("\\")[2].lower()
    return wanted in names and request.parameters.items() <= run["templateParameters"].items()
