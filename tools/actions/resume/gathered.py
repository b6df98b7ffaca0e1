"""Tells which run an event was gathered into, or until when it is held."""

from functools import cache

from shared.journal.journal import Journal
from shared.journal.records import JournalKey, Record, Selection, Skipped, State, log_skipped
from shared.resume.period import open_period
from tools.actions.records import MAX_SCANNED, SHOWN_KEY
from tools.presentation import counted


class GatheredEvents:
    """Looks up the runs of gathered events, each once."""

    def __init__(self, journal: Journal, skipped: Skipped = log_skipped) -> None:
        """:param skipped: is told of each record that cannot be read."""
        self._journal = journal
        self._skipped = skipped
        self._get = cache(journal.get)

    def words(self, record: Record) -> str:
        """Return into which run an event was gathered, or how many events a run is for; empty for other records.

        :raises JournalUnavailable: the journal does not answer.
        """
        if record.gathered is None:
            return ""
        into, events, _, group = record.gathered
        if into == record.key.key:
            return f"for {counted(events, 'event')}"
        run = self._get(JournalKey(record.key.route, into))
        if run is None:
            period = open_period(self._get(JournalKey(record.key.route, group)))
            is_open = period is not None and period.gathered.into == into
            return f"event {events} of its group" + (f"; {period.held}" if period is not None and is_open else "")
        others = 0 if run.gathered is None else run.gathered.events - 1
        named = f"into {into[:SHOWN_KEY]}, which is {run.state}" if run.run_id is None else f"into run {run.run_id}"
        return f"gathered {named}" + (f", with {counted(others, 'other')}" if others else "")

    def of_run(self, record: Record) -> list[Record]:
        """Return the events for which a run is, in their order, as far as they are still in the journal; else none.

        :raises JournalUnavailable: the journal does not answer.
        """
        if record.gathered is None or record.gathered.into != record.key.key:
            return []
        wanted = Selection(record.key.route, frozenset({State.GATHERED}))
        found = [
            (one.gathered.events, one)
            for one in self._journal.select(wanted, MAX_SCANNED, self._skipped)
            if one.gathered is not None and one.gathered.into == record.key.key
        ]
        return [one for _, one in sorted(found, key=lambda pair: pair[0])]
