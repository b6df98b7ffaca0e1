"""Counts what came out of a story: the emulators' books against the events, independently of the app's journal."""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from devstack.soak.events import SoakEvent

CANNOT_TELL: Final = "cannot tell"
_BOOLEANS: Final = frozenset({"true", "false"})


class Kind(NamedTuple):
    """What tells runs apart: events of the same kind queue equal runs."""

    pipeline: str
    parameters: frozenset[tuple[str, str]]

    @classmethod
    def of(cls, pipeline: str, parameters: Mapping[str, str]) -> "Kind":
        """Return the kind of a run. Azure DevOps does not distinguish true and True."""
        folded = {name: value.lower() if value.lower() in _BOOLEANS else value for name, value in parameters.items()}
        return cls(pipeline, frozenset(folded.items()))


@dataclass
class StoryEvent(SoakEvent):
    """One event.

    :param kinds: the runs that must come out, one for each route.
    """

    kinds: tuple[Kind, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What came out of a story.

    :param lost: events without a run of their own that is not canceled, except those that are parked as unclear.
    :param doubled: runs that are not canceled, beyond one for each event.
    :param unclear: events that are parked, because it cannot be told whether a listed run is theirs.
    :param canceled: runs that the app has canceled.
    :param adopted: runs of others that the app took for its own.
    :param unacknowledged: deliveries that were still refused at the end.
    :param wrong: what else was wrong, one line each.
    :param notes: what else was measured.
    """

    events: int
    lost: int
    doubled: int
    unclear: int
    canceled: int
    adopted: int
    unacknowledged: int
    wrong: Sequence[str] = ()
    notes: Sequence[str] = ()

    def is_good(self, *, may_be_unclear: bool) -> bool:
        """Return whether every event has exactly one run, or is parked as unclear if that is allowed."""
        bad = self.lost + self.doubled + self.adopted + self.unacknowledged + len(self.wrong)
        return bad == 0 and (may_be_unclear or not self.unclear)

    def __str__(self) -> str:
        parts = [f"{self.events} events, {self.lost} lost, {self.doubled} doubled"]
        parts += [f"{number} {name}" for name, number in self._rare().items() if number]
        return ", ".join([*parts, *self.notes, *self.wrong])

    def _rare(self) -> dict[str, int]:
        return {
            "parked because the app cannot tell": self.unclear,
            "canceled": self.canceled,
            "runs of others adopted": self.adopted,
            "deliveries not acknowledged": self.unacknowledged,
        }


def count(
    events: Sequence[StoryEvent],
    runs: Iterable[Mapping[str, Any]],
    strangers: Collection[str],
    decisions: Sequence[Mapping[str, Any]],
    unacknowledged: int,
    wrong: Sequence[str],
    notes: Sequence[str] = (),
) -> Outcome:
    """Count what came out.

    :param runs: from the books of all emulators.
    :param strangers: the plan IDs of the runs that others queued.
    :param decisions: what the hosts have logged.
    """
    runs = list(runs)
    own = [run for run in runs if run["planId"] not in strangers]
    live = [run for run in own if run["state"] == "inProgress"]
    expected = Counter(_kinds(events))
    queued = Counter(Kind.of(run["pipelineName"], run["templateParameters"]) for run in live)
    parked = {each["event_id"] for each in decisions if each["outcome"] == "parked" and CANNOT_TELL in each["reason"]}
    unclear = [event for event in events if json.loads(event.text)["id"] in parked]
    foreign = {run["id"] for run in runs if run["planId"] in strangers} - {run["id"] for run in own}
    return Outcome(
        events=len(events),
        lost=(expected - queued - Counter(_kinds(unclear))).total(),
        doubled=(queued - expected).total(),
        unclear=len(unclear),
        canceled=len(own) - len(live),
        adopted=len({each["run_id"] for each in decisions if each["outcome"] == "queued"} & foreign),
        unacknowledged=unacknowledged,
        wrong=wrong,
        notes=notes,
    )


def _kinds(events: Iterable[StoryEvent]) -> Iterator[Kind]:
    for event in events:
        yield from event.kinds


def read_decisions(logs: Iterable[Path]) -> Iterator[dict[str, Any]]:
    """Yield the decisions in the logs of hosts."""
    for log in logs:
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith('{"event_id"'):
                yield json.loads(line)
