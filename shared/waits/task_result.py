"""What a task is told of its run. Pure."""

from dataclasses import dataclass
from typing import Final

from shared.events.event import RunEnd

RESULTS: Final = {"Completed": "succeeded", "Failed": "failed", "Canceled": "canceled"}
"""From Azure ML's final status of a run to Azure Pipelines' result of a task."""

_STUDIO: Final = "https://ml.azure.com/runs"


@dataclass(frozen=True, slots=True)
class Telling:
    """A message to a task.

    :param result: ``succeeded``, ``failed`` or ``canceled``.
    :param reason: why, as half a sentence.
    :param lines: for the task's log.
    """

    result: str
    reason: str
    lines: tuple[str, ...]


def telling_of(end: RunEnd) -> Telling:
    """What a task is told when its run has ended."""
    reason = f"run {end.run_id} is {end.status}"
    lines = [f"nextstage: Azure ML {reason}, so this task has {RESULTS[end.status]}"]
    if end.workspace.lower().startswith("/subscriptions/"):
        lines.append(f"nextstage: {_STUDIO}/{end.run_id}?wsid={end.workspace}")
    return Telling(RESULTS[end.status], reason, tuple(lines))


def telling_of_silence(run_id: str, hours: float) -> Telling:
    """What a task is told when nothing was heard of its run for too long."""
    reason = f"run {run_id} has not been seen to end within {hours:g} h (WAIT_TIMEOUT_HOURS)"
    return Telling("failed", reason, (f"##[error]nextstage: {reason}, so this task fails",))
