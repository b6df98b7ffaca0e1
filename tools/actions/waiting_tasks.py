"""Finds the tasks that wait for the run whose end an event reports."""

from shared.events.event import RunEnd
from shared.journal.records import OPEN_STATES, Record, Selection
from shared.waits.ends import Ends
from shared.waits.wait import MAX_WAITS, waits_partition
from shared.waits.workspaces import Workspaces
from tools.installation import Installation


def waiting_tasks(installation: Installation, end: RunEnd | None) -> list[Record]:
    """Return the open waits for this run; none if the event reports no end.

    :raises JournalUnavailable: the journal does not answer.
    """
    if end is None or not installation.settings.has_waits or not installation.has_journal:
        return []
    journal = installation.journal
    waits = journal.select(Selection(waits_partition(end.run_id), OPEN_STATES), MAX_WAITS)
    settings = installation.settings
    workspaces = Workspaces(journal, settings.workspace_id, settings.workspace_ids)
    return list(Ends(journal, workspaces).waiting_for(end, waits))
