"""The events for which a run is that was queued for several ones."""

from datetime import timedelta
from itertools import islice
from typing import Final

from shared.journal.records import Record, State
from tools.page.reading.journal_file import Condition, JournalFile, read_only, time_text

_CLOCK_ERROR: Final = timedelta(minutes=1)
"""By how much the clocks of the processes that wrote the records may differ, generously."""


def gathered_into(file: JournalFile, run: Record, limit: int) -> list[Record]:
    """Return the last events that were gathered for a run, in their order; none if it is for one event.

    Only records of the run's period are looked at.

    :raises JournalUnavailable: the file does not answer.
    """
    if run.gathered is None or run.gathered.into != run.key.key:
        return []
    since, before = time_text(run.gathered.since - _CLOCK_ERROR), time_text(run.claimed_at + _CLOCK_ERROR)
    named = Condition().and_also("(route = ? AND instr(document, ?))", run.key.route, run.key.key)
    with file.moment() as moment:
        found = (row for row in moment.newest_first([State.GATHERED], named, since, before) if row.is_hit)
        rows = list(islice(found, limit))
    events = [
        (each.gathered.events, each)
        for each in read_only(file.records(rows))
        if each.gathered is not None and each.gathered.into == run.key.key
    ]
    return [each for _, each in sorted(events, key=lambda pair: pair[0])]
