"""All that the pages read of the journal, apart from single records."""

from datetime import datetime, timedelta

from shared.journal.journal import Journal
from shared.journal.records import Record
from shared.journal.sqlite import SqliteStore
from tools.page.reading.attention import Attention, attention
from tools.page.reading.decisions import MAX_ROUTES, Decisions, Search, decisions
from tools.page.reading.gathered import gathered_into
from tools.page.reading.journal_file import JournalFile
from tools.page.reading.lineage import Lineage, lineage
from tools.page.reading.statistics import Statistics, statistics
from tools.page.reading.timeline import Span, Timeline, timeline, timelines_by_route


class Reader:
    """Reads a file with the schema of the SQLite journal. Safe for many threads.

    All methods raise JournalUnavailable if the file does not answer.
    """

    def __init__(self, store: SqliteStore) -> None:
        self._file = JournalFile(store)
        self.journal = Journal(store)
        """The records of the file, for code that selects few of them: by route, or by a state that few have.

        They may be a copy: never write through it, and read a single record from the installation's own journal.
        """

    def attention(self, now: datetime) -> Attention:
        """Return what needs a person first."""
        return attention(self._file, self.journal, now)

    def timeline(self, span: Span, now: datetime) -> Timeline:
        """Return how many events ended in which way, in steps."""
        return timeline(self._file, span, now)

    def timelines_by_route(self, span: Span, now: datetime) -> dict[str, Timeline]:
        """Return the same for each route, the one with the most events first."""
        return timelines_by_route(self._file, span, now)

    def decisions(self, search: Search, now: datetime) -> Decisions:
        """Return a page of the latest decisions that match."""
        return decisions(self._file, search, now)

    def lineage(self, record: Record) -> Lineage:
        """Return other records of the same event, Azure ML run or model.

        :param record: with the text of its event.
        """
        return lineage(self._file, record)

    def gathered_into(self, run: Record, limit: int) -> list[Record]:
        """Return the last events that were gathered for a run; none if it is for one event."""
        return gathered_into(self._file, run, limit)

    def statistics(self, period: timedelta, now: datetime) -> Statistics:
        """Return what happened on each route in the last period."""
        return statistics(self._file, period, now)

    def routes(self, limit: int = MAX_ROUTES) -> list[str]:
        """Return the names of the routes that have records, sorted."""
        with self._file.moment() as moment:
            return moment.routes(limit)
