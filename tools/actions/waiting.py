"""Waits until the journal shows what came of an event that was sent."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain, repeat
from typing import Final

from shared.clock import Clock, utc_now
from shared.deciding import Verdict
from shared.journal.records import FINAL_STATES, JournalKey, Record, Selection
from shared.telemetry import Outcome
from tools.actions.records import MAX_SCANNED
from tools.installation import Installation

NOTHING: Final = "nothing"
"""Shown for a route of which the journal has no record yet."""

PAUSES_SECONDS: Final = (0.2, 0.3, 0.5, 1.0, 2.0)
"""Between two looks; the last one again and again."""

Sleep = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Expected:
    """A record to wait for.

    :param key: of the record; where the event's source is changed on the way only the route is certain.
    :param event_id: of the event, by which the record is found in that case; empty: it is found by its key.
    :param before: the record that was there before the event was sent.
    """

    key: JournalKey
    event_id: str = ""
    before: Record | None = None

    @property
    def is_done(self) -> bool:
        """Whether the occurrence had been dealt with before the event was sent."""
        return self.before is not None and self.before.state in FINAL_STATES

    def present(self, installation: Installation) -> Record | None:
        """The record that is there now.

        :raises JournalUnavailable: the journal does not answer.
        """
        if not self.event_id:
            return installation.present(self.key)
        if not installation.has_journal:
            return None
        records = installation.journal.select(Selection(route=self.key.route), MAX_SCANNED)
        return next((one for one in records if one.entry.event_id == self.event_id), None)


@dataclass(frozen=True, slots=True)
class Seen:
    """What the journal shows of one route in the end.

    :param outcome: an outcome, or where the time was up a record's state, or ``nothing``.
    """

    route: str
    outcome: str
    record: Record | None = None


def expected(installation: Installation, verdict: Verdict, *, is_source_kept: bool) -> list[Expected]:
    """The records that an event will have, each as it is before the event is sent.

    :param is_source_kept: False: the event's source will be another one when it arrives, and so will the keys.
    :raises JournalUnavailable: the journal does not answer.
    """
    event_id = "" if is_source_kept else verdict.entry.event_id
    wanted = [Expected(decided.key, event_id) for decided in verdict.decisions]
    return [Expected(one.key, one.event_id, one.present(installation)) for one in wanted]


def wait(
    installation: Installation,
    awaited: Sequence[Expected],
    until: datetime,
    *,
    again: Callable[[], None] = lambda: None,
    clock: Clock = utc_now,
    sleep: Sleep = time.sleep,
) -> list[Seen]:
    """Look until every record is final, or the time is up.

    :param again: called after each look that was in vain, to deliver the event once more where that is for us to do.
    :raises JournalUnavailable: the journal does not answer.
    """
    pauses = chain(PAUSES_SECONDS, repeat(PAUSES_SECONDS[-1]))
    while True:
        seen = [_seen(one, one.present(installation)) for one in awaited]
        left = (until - clock()) / timedelta(seconds=1)
        if left <= 0 or all(one.record is not None and one.record.state in FINAL_STATES for one in seen):
            return seen
        sleep(min(next(pauses), left))
        again()


def _seen(one: Expected, record: Record | None) -> Seen:
    if record is None:
        return Seen(one.key.route, NOTHING)
    return Seen(one.key.route, Outcome.DUPLICATE if one.is_done else record.state.value, record)
