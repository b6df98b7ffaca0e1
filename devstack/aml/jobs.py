"""The jobs of emulated Azure ML workspaces. A workspace exists as soon as it has a job."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from devstack.aml.post_back import RESULTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from devstack.aml.post_back import PostBack

JOB_STATUSES = (
    "NotStarted",
    "Starting",
    "Provisioning",
    "Preparing",
    "Queued",
    "Running",
    "Finalizing",
    "CancelRequested",
    "Completed",
    "Failed",
    "Canceled",
    "NotResponding",
    "Paused",
    "Unknown",
)
"""Source: Azure ML's REST API 2024-04-01, ``JobStatus``."""

_WORKSPACE = re.compile(
    r"/subscriptions/[^/?#]+/resourceGroups/[^/?#]+/providers/Microsoft\.MachineLearningServices/workspaces/[^/?#]+",
    re.IGNORECASE,
)


class JobError(ValueError):
    """A job has an invalid workspace, name or status. The message names the invalid value."""


@dataclass(frozen=True)
class Job:
    """A snapshot of a job. ``workspace`` is the workspace's resource ID in its first spelling."""

    workspace: str
    name: str
    status: str
    created: datetime
    changed: datetime

    def book_entry(self) -> dict[str, object]:
        """Return the job as the emulator's books show it."""
        return {"workspace": self.workspace, "name": self.name, "status": self.status}


class Jobs:
    """All jobs of all workspaces. Thread-safe. As in Azure, resource IDs are not case-sensitive.

    ``send`` is called with each post-back of a job that ends, and with the job's final status.
    """

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self.send: Callable[[PostBack, str], None] = lambda _post_back, _status: None
        self._clock = clock
        self._lock = threading.Lock()
        self._jobs: dict[tuple[str, str], Job] = {}
        self._post_backs: dict[tuple[str, str], list[PostBack]] = {}

    @property
    def all(self) -> tuple[Job, ...]:
        with self._lock:
            return tuple(self._jobs.values())

    def set(self, workspace: str, name: str, status: str) -> Job:
        """Add a job or change its status. Any status may follow any other.

        :param workspace: the workspace's resource ID: ``/subscriptions/…/workspaces/…``.
        :raises JobError: the resource ID, the name or the status is invalid.
        """
        if not _WORKSPACE.fullmatch(workspace):
            raise JobError(f"workspace must be the resource ID of an Azure ML workspace, got {workspace!r}")
        if not name.strip() or "/" in name:
            raise JobError(f"name must be a job name without a slash, got {name!r}")
        if status not in JOB_STATUSES:
            raise JobError(f"status must be one of {', '.join(JOB_STATUSES)}; got {status!r}")
        now = self._clock()
        with self._lock:
            key = (workspace.lower(), name)
            job = self._jobs.get(key)
            job = replace(job, status=status, changed=now) if job else Job(workspace, name, status, now, now)
            self._jobs[key] = job
            due = self._post_backs.pop(key, []) if status in RESULTS else []
        for post_back in due:
            self.send(post_back, status)
        return job

    def add_post_backs(self, workspace: str, name: str, post_backs: Iterable[PostBack]) -> None:
        """Register post-backs of a job. If it has already ended, they are never sent."""
        key = (workspace.lower(), name)
        with self._lock:
            if self._jobs[key].status not in RESULTS:
                self._post_backs.setdefault(key, []).extend(post_backs)

    def get(self, workspace: str, name: str) -> Job | None:
        with self._lock:
            return self._jobs.get((workspace.lower(), name))

    def has_workspace(self, workspace: str) -> bool:
        with self._lock:
            return any(known == workspace.lower() for known, _name in self._jobs)
