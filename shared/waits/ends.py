"""The ends of runs that events have reported. They are stored, because a task may register after its run has ended."""

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Final

from shared.events.event import RunEnd
from shared.journal.journal import Journal
from shared.journal.records import Record, Selection, State
from shared.logs import logger
from shared.waits.wait import Wait, end_record, ends_partition, read_each, read_end
from shared.waits.workspaces import Workspaces

_MAX_ENDS: Final = 10_000

_log = logger("nextstage.waits")


class Ends:
    """The stored ends of runs. Thread-safe."""

    def __init__(self, journal: Journal, workspaces: Workspaces) -> None:
        self._journal = journal
        self._workspaces = workspaces

    def note(self, end: RunEnd) -> RunEnd:
        """Store the end of a run. Return the one that was reported first.

        :raises JournalUnavailable: the store does not answer.
        """
        self._workspaces.note(end.workspace)
        key, document = end_record(end)
        return read_end(self._journal.write_once(key, State.NOTED, document))

    def of(self, wait: Wait) -> RunEnd | None:
        """Return the end of the run that a task waits for; None if its event has not arrived.

        :raises JournalUnavailable: the store does not answer.
        """
        noted = self._journal.select(Selection(ends_partition(wait.run_id)), _MAX_ENDS)
        return next(
            (end for _, end in read_each(read_end, noted) if self._workspaces.is_meant(wait.workspace, end.workspace)),
            None,
        )

    def waiting_for(self, end: RunEnd, records: Iterable[Record]) -> Iterator[Record]:
        """Yield those of the waits for a run with this name that wait for this run.

        :raises JournalUnavailable: the store does not answer.
        """
        is_meant = cache(lambda named: self._workspaces.is_meant(named, end.workspace))
        for record, wait in read_each(Wait.of, records):
            if wait.run_id.lower() != end.run_id.lower():
                continue
            if (is_this := is_meant(wait.workspace)) is None:
                _log.error(
                    "%s is not completed although run %s has ended in %s: several known workspaces may be meant; "
                    "cancel its pipeline, and send the workspace's resource id, or set AML_WORKSPACE_ID",
                    wait.task,
                    end.run_id,
                    end.workspace,
                )
            elif is_this:
                yield record
