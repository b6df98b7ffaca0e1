"""A wait and the end of a run as records of the journal's store. Pure.

``<run>`` is a hash of the run's id, ``<task>`` one of the task's coordinates:

===============  ===========  ====================================================================
partition        key          record
===============  ===========  ====================================================================
``$wait.<run>``  ``<task>``   the wait, claimed and finished like any other record of the journal
``$ended.<run>`` workspace    that the run has ended, and how (``noted``)
``$task``        ``<task>``   which run the task waits for (``noted``)
===============  ===========  ====================================================================
"""

import json
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from hashlib import sha256
from typing import Final, Self

from shared.events.event import RunEnd
from shared.journal.records import FINAL_STATES, JournalKey, Record, State
from shared.waits.request import Task, WaitRequest

WAIT_PREFIX: Final = "$wait."
ENDED_PREFIX: Final = "$ended."
TASK_PARTITION: Final = "$task"
OPEN_STATES: Final = frozenset(State) - FINAL_STATES
"""The states of waits that are not over."""


@dataclass(frozen=True, slots=True)
class Wait:
    """A task that waits for a run.

    :param workspace: a name or a resource id; None where the run may be in any.
    :param sealed_token: the task's token, encrypted; empty once the wait is over.
    :param proven: Azure DevOps has taken the token, so the caller was the task's own pipeline.
    """

    task: Task
    run_id: str
    workspace: str | None
    registered_at: datetime
    sealed_token: str
    proven: bool

    @property
    def key(self) -> JournalKey:
        """Where the wait is kept."""
        return JournalKey(waits_partition(self.run_id), self.task.key)

    def document(self) -> str:
        """Return the wait as a record keeps it."""
        fields = asdict(self) | {"registered_at": self.registered_at.isoformat()}
        return json.dumps(fields, separators=(",", ":"))

    @classmethod
    def of(cls, record: Record) -> Self:
        """Read what ``document`` wrote."""
        fields = json.loads(record.document)
        task, registered_at = Task(**fields["task"]), datetime.fromisoformat(fields["registered_at"])
        return cls(**fields | {"task": task, "registered_at": registered_at})

    def without_token(self) -> Self:
        """What is left of it when it is over."""
        return replace(self, sealed_token="")

    def waits_for(self, end: RunEnd) -> bool:
        """Whether this is the end of its run. Azure ML takes names without regard to case."""
        return self.run_id.lower() == end.run_id.lower() and names_workspace(self.workspace, end.workspace)


def waits_partition(run_id: str) -> str:
    """Where the waits for a run are kept, whatever its workspace."""
    return WAIT_PREFIX + _run_hash(run_id)


def ends_partition(run_id: str) -> str:
    """Where the ends of runs of this name are kept, whatever their workspaces."""
    return ENDED_PREFIX + _run_hash(run_id)


def end_record(end: RunEnd) -> tuple[JournalKey, str]:
    """Return key and document of the record that keeps the end of a run."""
    key = JournalKey(ends_partition(end.run_id), sha256(end.workspace.lower().encode()).hexdigest())
    return key, json.dumps(end._asdict())


def read_end(record: Record) -> RunEnd:
    """Read what ``end_record`` wrote."""
    return RunEnd(**json.loads(record.document))


def task_record(request: WaitRequest) -> tuple[JournalKey, str]:
    """Return key and document of the record that keeps which run a task waits for."""
    return JournalKey(TASK_PARTITION, request.task.key), json.dumps([request.run_id, request.workspace])


def run_of_task(record: Record) -> str:
    """Return the run that ``task_record`` names."""
    return str(json.loads(record.document)[0])


def names_workspace(named: str | None, workspace: str) -> bool:
    """Whether a person's word for a workspace, its name or its resource id, means this one."""
    if named is None:
        return True
    known = workspace.strip("/").lower()
    return named.strip("/ ").lower() in {known, known.rpartition("/")[2]}


def _run_hash(run_id: str) -> str:
    return sha256(run_id.lower().encode()).hexdigest()
