"""Records of the journal for waiting tasks and ends of runs. Pure.

``<run>`` is a hash of the run's id, and ``<task>`` is a hash of the task's coordinates:

================  ===========  ===================================================================
partition         key          record
================  ===========  ===================================================================
``$wait.<run>``   ``<task>``   the wait, which is claimed and finished like the record of an event
``$ended.<run>``  workspace    the final status of the run (``noted``)
``$task``         ``<task>``   the run that the task waits for (``noted``)
``$workspaces``   workspace    a workspace whose run has ended (``noted``); see ``workspaces.py``
``$sweep``        ``0``        where the next sweep begins (``noted``); see ``sweep.py``
================  ===========  ===================================================================
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from hashlib import sha256
from typing import Any, Final, Self, TypeVar

from shared.errors import UnreadableRecord
from shared.events.event import RunEnd
from shared.journal.records import WAIT_PREFIX, JournalKey, Record, Skipped, log_skipped
from shared.journal.stored_form import reading
from shared.waits.request import Task, WaitRequest

ENDED_PREFIX: Final = "$ended."
TASK_PARTITION: Final = "$task"
WORKSPACES_PARTITION: Final = "$workspaces"
SWEEP_PARTITION: Final = "$sweep"
MAX_WAITS: Final = 5000
"""The maximum number of open waits that are read at once. They take about 3 KB of memory each."""

Content = TypeVar("Content")


@dataclass(frozen=True, slots=True)
class Wait:
    """A task that waits for a run.

    :param workspace: the resource id of the run's workspace. It is a name, or None, if nothing was known about the
        workspace when the task registered.
    :param sealed: the task's token and ``terms``, encrypted together; empty once the wait has ended.
    :param proven: Azure DevOps accepted the token, so the request came from the task's own pipeline.
    :param sealed_token: the token alone, encrypted, in a record of 0.1.0. Otherwise empty: 0.1.0 requires the field.
    """

    task: Task
    run_id: str
    workspace: str | None
    registered_at: datetime
    sealed: str
    proven: bool
    sealed_token: str = ""

    @property
    def key(self) -> JournalKey:
        """The key of the wait's record."""
        return JournalKey(waits_partition(self.run_id), self.task.key)

    @property
    def terms(self) -> list[object]:
        """What the app acts on. It is encrypted with the token, so another program cannot change it."""
        return [asdict(self.task), self.run_id, self.workspace, self.registered_at.isoformat(), self.proven]

    def document(self) -> str:
        """Return the wait as the document of its record."""
        fields = asdict(self) | {"registered_at": self.registered_at.isoformat()}
        return json.dumps(fields, separators=(",", ":"))

    @classmethod
    def of(cls, record: Record) -> Self:
        """Read the wait from its record.

        :raises UnreadableRecord: another program has changed it.
        """
        with reading(record.key):
            stored = json.loads(record.document)
            registered_at = datetime.fromisoformat(stored["registered_at"])
            if registered_at.tzinfo is None:
                raise ValueError("registered_at has no time zone")
            workspace = None if stored["workspace"] is None else _text(stored, "workspace")
            return cls(
                task=Task(**{field.name: _text(stored["task"], field.name) for field in fields(Task)}),
                run_id=_text(stored, "run_id"),
                workspace=workspace,
                registered_at=registered_at,
                sealed=_text(stored, "sealed") if "sealed" in stored else "",
                proven=stored["proven"] is True,
                sealed_token=_text(stored, "sealed_token"),
            )

    def without_token(self) -> Self:
        """Return the wait without its token, for the record of a wait that has ended."""
        return replace(self, sealed="", sealed_token="")


def waits_partition(run_id: str) -> str:
    """Return the partition of all waits for runs with this name, in any workspace."""
    return WAIT_PREFIX + _run_hash(run_id)


def ends_partition(run_id: str) -> str:
    """Return the partition of the ends of all runs with this name, in any workspace."""
    return ENDED_PREFIX + _run_hash(run_id)


def end_record(end: RunEnd) -> tuple[JournalKey, str]:
    """Return key and document of the record for the end of a run."""
    key = JournalKey(ends_partition(end.run_id), sha256(end.workspace.lower().encode()).hexdigest())
    return key, json.dumps(end._asdict())


def read_end(record: Record) -> RunEnd:
    """Read the end of a run from the record that ``end_record`` describes.

    :raises UnreadableRecord: another program has changed it.
    """
    with reading(record.key):
        stored = json.loads(record.document)
        return RunEnd(*(_text(stored, name) for name in RunEnd._fields))


def task_record(request: WaitRequest) -> tuple[JournalKey, str]:
    """Return key and document of the record for the run that a task waits for."""
    return JournalKey(TASK_PARTITION, request.task.key), json.dumps([request.run_id, request.workspace])


def run_of_task(record: Record) -> str:
    """Return the id of the run from the record that ``task_record`` describes.

    :raises UnreadableRecord: another program has changed it.
    """
    with reading(record.key):
        return str(json.loads(record.document)[0])


def read_each(
    read: Callable[[Record], Content], records: Iterable[Record], skipped: Skipped = log_skipped
) -> Iterator[tuple[Record, Content]]:
    """Return each record with its content. Skip those that another program has changed.

    :param read: ``Wait.of`` or ``read_end``.
    """
    for record in records:
        try:
            content = read(record)
        except UnreadableRecord as exc:
            skipped(exc)
        else:
            yield record, content


def _text(stored: Mapping[str, Any], name: str) -> str:
    if not isinstance(value := stored[name], str):
        raise TypeError(f"{name} is not a string")
    value.encode()  # fails for half a surrogate pair, which neither hashes nor keys accept
    return value


def _run_hash(run_id: str) -> str:
    return sha256(run_id.lower().encode()).hexdigest()
