"""The result with which a waiting task is completed. Pure."""

from dataclasses import dataclass
from typing import Final

from shared.events.event import RunEnd

RESULTS: Final = {"Completed": "succeeded", "Failed": "failed", "Canceled": "canceled"}
"""Maps the final status of a run in Azure ML to the result of a task in Azure Pipelines."""

_STUDIO: Final = "https://ml.azure.com/runs"


@dataclass(frozen=True, slots=True)
class TaskResult:
    """The result of a task, with the reason.

    :param result: ``succeeded``, ``failed`` or ``canceled``.
    :param reason: the reason, as a clause that can follow "because".
    :param lines: lines for the task's log.
    """

    result: str
    reason: str
    lines: tuple[str, ...]


def result_of(end: RunEnd) -> TaskResult:
    """Return the result of a task whose run has ended."""
    reason = f"run {end.run_id} is {end.status}"
    lines = [f"nextstage: Azure ML {reason}, so this task has {RESULTS[end.status]}"]
    if end.workspace.lower().startswith("/subscriptions/"):
        lines.append(f"nextstage: {_STUDIO}/{end.run_id}?wsid={end.workspace}")
    return TaskResult(RESULTS[end.status], reason, tuple(lines))


def timeout_result(run_id: str, hours: float) -> TaskResult:
    """Return the result of a task whose run has no known final status after the timeout."""
    reason = f"no final status of run {run_id} is known after {hours:g} h (WAIT_TIMEOUT_HOURS)"
    return TaskResult("failed", reason, (f"##[error]nextstage: {reason}, so this task fails",))
