"""Lists the orphans that are not canceled yet: second runs of events, queued by workers that had lost their claims."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared.azure_devops.runs import Run
from shared.journal.journal import Journal
from shared.journal.records import JournalKey, Record, Skipped, State
from shared.queueing.orphans import OpenOrphan, open_orphans
from tools.actions.records import MAX_SCANNED
from tools.console import Console
from tools.presentation import counted


@dataclass(frozen=True, slots=True)
class ListedOrphan:
    """An orphan that is not canceled yet.

    :param key: the key of the event's record.
    :param event_run: the run of the event; None if it has none yet.
    :param since: the orphan was not queued before this time.
    :param run: the orphan; None if the answer to its request was lost.
    :param why_open: why it is not canceled yet.
    """

    key: JournalKey
    event_run: Run | None
    since: datetime
    run: Run | None
    why_open: str

    def document(self) -> dict[str, Any]:
        """Return the orphan as a JSON document, with the time in ISO 8601."""
        return {
            "key": self.key.key,
            "route": self.key.route,
            "since": self.since.isoformat(),
            **_run_fields("", self.run),
            **_run_fields("event_", self.event_run),
            "reason": self.why_open,
        }


def note_orphans(console: Console, journal: Journal, skipped: Skipped) -> None:
    """Mention how many orphans are not canceled yet, if there are any.

    :param skipped: is told of each orphan that cannot be read.
    :raises JournalUnavailable: the journal does not answer.
    """
    if number := sum(1 for _ in open_orphans(journal, MAX_SCANNED, skipped)):
        console.note(f"{counted(number, 'orphan')} not canceled yet; 'manage.py journal --orphans' shows why")


def listed_orphans(journal: Journal, route: str | None, skipped: Skipped) -> list[ListedOrphan]:
    """Return the orphans of one route or of all, the oldest first.

    :param skipped: is told of each orphan that cannot be read.
    :raises JournalUnavailable: the journal does not answer.
    """
    found = [_listed(journal, one) for one in open_orphans(journal, MAX_SCANNED, skipped)]
    return sorted((one for one in found if route in {None, one.key.route}), key=lambda one: one.since)


def _listed(journal: Journal, found: OpenOrphan) -> ListedOrphan:
    lost = found.orphan.lost
    owner = journal.get(lost.key)
    event_run = None if owner is None or owner.run_id is None else Run(owner.run_id, owner.run_url)
    return ListedOrphan(lost.key, event_run, lost.since, found.orphan.run, _why_open(found.record, owner))


def _why_open(orphan: Record, owner: Record | None) -> str:
    if owner is None:
        return "the record of its event was removed; cancel the run yourself if the event has another one"
    if owner.state not in {State.QUEUED, State.SUPPRESSED, State.GATHERED}:
        return f"its event has no run yet, and is {owner.state}: this may become its run"
    return orphan.reason or "a delivery, a redrive or a timer will cancel it"


def _run_fields(prefix: str, run: Run | None) -> dict[str, Any]:
    return {f"{prefix}run_id": None if run is None else run.id, f"{prefix}run_url": "" if run is None else run.url}
