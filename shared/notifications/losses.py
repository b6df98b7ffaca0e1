"""Notifications that were lost, counted in the journal."""

import json
import threading
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Final

from shared.errors import JournalUnavailable, UnreadableRecord
from shared.journal.journal import Journal
from shared.journal.records import JournalKey, Record, Selection, Skipped, State, log_skipped
from shared.journal.stored_form import reading
from shared.notifications.notification import MAX_TEXT
from shared.telemetry import shortened

PARTITION: Final = "$lost-notifications"
"""The partition of the records that count losses. The purge removes them like other records."""

_LIMIT: Final = 10_000


@dataclass(frozen=True, slots=True)
class Loss:
    """Notifications that were lost for the same reason."""

    count: int
    reason: str


class Losses:
    """The losses of this process that are not in the journal yet. Thread-safe."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def add(self, count: int, reason: str) -> None:
        """Count notifications that were lost."""
        with self._lock:
            self._counts[reason] += count

    def write(self, journal: Journal) -> None:
        """Write the losses to the journal. If it does not answer, the next call tries again."""
        if not self._counts:  # the usual case, which needs no lock
            return
        with self._lock:
            counts, self._counts = self._counts, Counter()
        for reason, count in counts.items():
            loss = Loss(count, str(shortened(reason, MAX_TEXT)))
            try:
                journal.write_once(JournalKey(PARTITION, uuid.uuid4().hex), State.NOTED, json.dumps(asdict(loss)))
            except JournalUnavailable:
                self.add(count, reason)


def journaled_losses(journal: Journal, skipped: Skipped = log_skipped) -> list[Loss]:
    """Return the losses in the journal, the latest first.

    :param skipped: is told of each loss that cannot be read.
    :raises JournalUnavailable: the journal does not answer.
    """
    records = journal.select(Selection(PARTITION), _LIMIT, skipped)
    return list(_readable(sorted(records, key=lambda record: record.changed_at, reverse=True), skipped))


def _readable(records: Iterable[Record], skipped: Skipped) -> Iterator[Loss]:
    for record in records:
        try:
            with reading(record.key):
                fields = json.loads(record.document)
                loss = Loss(int(fields["count"]), str(fields["reason"]))
        except UnreadableRecord as exc:
            skipped(exc)
        else:
            yield loss
