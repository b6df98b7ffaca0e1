"""Two pipelines that wait without an agent: one that is early, one that comes too late for its run's event."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import requests

from devstack.events import sample_text
from shared.events.event import parse_event

EARLY: Final = "run-completed"
LATE: Final = "run-status-changed"
_RESULTS: Final = {EARLY: "succeeded", LATE: "failed"}
_PATIENCE_SECONDS: Final = 20.0

Task = Mapping[str, Any]
"""One of ``tasks`` of the emulator's books."""


def run_of(sample: str) -> str:
    """The run that a sample event is about."""
    return str(parse_event(sample_text(sample)).data["runId"])


def start_waiting(tasks_url: str, host_url: str, sample: str) -> None:
    """Start a pipeline whose agentless task waits for a sample's run, and see it wait."""
    inputs = {"function": f"{host_url}/api/waits", "body": {"run_id": run_of(sample)}}
    answer = requests.post(tasks_url, json={"task": "AzureFunction@1", "inputs": inputs}, timeout=10)
    answer.raise_for_status()
    task_url = f"{tasks_url}/{answer.json()['task']['taskInstanceId']}"
    until = time.monotonic() + _PATIENCE_SECONDS
    while requests.get(task_url, timeout=10).json()["state"] == "calling" and time.monotonic() < until:
        time.sleep(0.05)


def released(tasks: Sequence[Task]) -> list[bool]:
    """For each pipeline, in the order in which they were started, whether it was told what it should be, once."""
    expected = (_RESULTS[EARLY], _RESULTS[LATE])
    return [
        (task["state"], task["result"], task["completions"]) == ("completed", result, 1)
        for task, result in zip(tasks, expected, strict=True)
    ]


def show_waiting(tasks: Sequence[Task]) -> None:
    """Print what the pipelines' own logs say."""
    for task in tasks:
        print(f" a pipeline without an agent: {task['state']}, {task['result']}, told {task['completions']} time(s)")
        for line in task["feedLines"]:
            print(f"   {line}")
