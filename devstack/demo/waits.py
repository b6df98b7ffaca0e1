"""Two pipelines that wait without an agent: one registers before its run's event, the other after it."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import requests

from devstack.demo.report import Report
from devstack.events import sample_text
from shared.events.event import parse_event

EARLY: Final = "run-completed"
LATE: Final = "run-status-changed"
_RESULTS: Final = {EARLY: "succeeded", LATE: "failed"}
_TIMEOUT_SECONDS: Final = 20.0

Task = Mapping[str, Any]
"""One of the ``tasks`` in the emulator's books."""


def run_of(sample: str) -> str:
    """Return the ID of the run that a sample event is about."""
    return str(parse_event(sample_text(sample)).data["runId"])


def start_waiting(tasks_url: str, host_url: str, sample: str) -> None:
    """Start a pipeline whose agentless task waits for the run of a sample, and return when its request is answered."""
    inputs = {"function": f"{host_url}/api/waits", "body": {"run_id": run_of(sample)}}
    answer = requests.post(tasks_url, json={"task": "AzureFunction@1", "inputs": inputs}, timeout=10)
    answer.raise_for_status()
    task_url = f"{tasks_url}/{answer.json()['task']['taskInstanceId']}"
    deadline = time.monotonic() + _TIMEOUT_SECONDS
    while requests.get(task_url, timeout=10).json()["state"] == "calling" and time.monotonic() < deadline:
        time.sleep(0.05)


def completed_as_expected(tasks: Sequence[Task]) -> list[bool]:
    """Return for each task, in order of its start, whether it was completed exactly once with the expected result."""
    expected = (_RESULTS[EARLY], _RESULTS[LATE])
    return [
        (task["state"], task["result"], task["completions"]) == ("completed", result, 1)
        for task, result in zip(tasks, expected, strict=True)
    ]


def show_tasks(tasks: Sequence[Task], report: Report) -> None:
    """Print the state of each task, and the lines in its pipeline's log without the link to the sample run."""
    for task in tasks:
        report.line()
        state, result, completions = task["state"], task["result"], task["completions"]
        report.line(f"pipeline without an agent: {state}, result: {result}, completions: {completions}", "bold")
        for line in (each for each in task["feedLines"] if "https://" not in each):
            report.line(line, "", 2, hanging=2)
