"""Waits until the journal shows what happened to an event that was sent."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import chain, repeat
from typing import Final

from shared.clock import Clock, utc_now
from shared.deciding import Verdict
from shared.journal.records import FINAL_STATES, JournalKey, Record, Selection
from tools.actions.records import MAX_SCANNED
from tools.installation import Installation

PAUSES_SECONDS: Final = (0.2, 0.3, 0.5, 1.0, 2.0)
"""Between two looks; the last one again and again."""

Sleep = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Awaited:
    """A record to wait for.

    :param key: of the record; if the event's source changes on the way, only the route is certain.
    :param event_id: of the event, which finds the record in that case; empty: the key finds it.
    :param before: the record before the event was sent.
    :param record: the record now.
    """

    key: JournalKey
    event_id: str = ""
    before: Record | None = None
    record: Record | None = None

    @property
    def was_done(self) -> bool:
        """Whether the occurrence had been dealt with before the event was sent."""
        return self.before is not None and self.before.state in FINAL_STATES

    @property
    def is_done(self) -> bool:
        """Whether the occurrence has been dealt with now."""
        return self.record is not None and self.record.state in FINAL_STATES

    def present(self, installation: Installation) -> Record | None:
        """Return the record that is there now.

        :raises JournalUnavailable: the journal does not answer.
        """
        if not self.event_id:
            return installation.present(self.key)
        if not installation.has_journal:
            return None
        records = installation.journal.select(Selection(route=self.key.route), MAX_SCANNED)
        return next((one for one in records if one.entry.event_id == self.event_id), None)


def awaited_records(installation: Installation, verdict: Verdict, *, is_source_kept: bool) -> list[Awaited]:
    """Return the records that an event will have, each as it is before the event is sent.

    :param is_source_kept: False: the event's source, and so its keys, will be others when it arrives.
    :raises JournalUnavailable: the journal does not answer.
    """
    event_id = "" if is_source_kept else verdict.entry.event_id
    wanted = [Awaited(decided.key, event_id) for decided in verdict.decisions]
    return [replace(one, before=one.present(installation)) for one in wanted]


def wait(
    installation: Installation,
    awaited: Sequence[Awaited],
    until: datetime,
    again: Callable[[], None],
    clock: Clock = utc_now,
    sleep: Sleep = time.sleep,
) -> list[Awaited]:
    """Look until every record is final, or the time is up.

    :param again: called after each look that was in vain, to deliver the event once more if need be.
    :raises JournalUnavailable: the journal does not answer.
    """
    pauses = chain(PAUSES_SECONDS, repeat(PAUSES_SECONDS[-1]))
    while True:
        seen = [replace(one, record=one.present(installation)) for one in awaited]
        left = (until - clock()) / timedelta(seconds=1)
        if left <= 0 or all(one.is_done for one in seen):
            return seen
        sleep(min(next(pauses), left))
        again()
