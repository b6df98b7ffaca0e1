"""Looks after tasks that wait: events can be lost, or never have been subscribed, and tasks be left untold."""

import logging
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from shared.clock import Clock, utc_now
from shared.errors import ClaimLost, RunStatusUnavailable
from shared.events.event import RunEnd
from shared.journal.journal import Journal
from shared.journal.records import Record, Selection
from shared.telemetry import Outcome
from shared.waits.aml import AmlRuns
from shared.waits.task_result import Telling, telling_of, telling_of_silence
from shared.waits.wait import OPEN_STATES, WAIT_PREFIX, Wait, names_workspace
from shared.waits.waits import Waits

MAX_WAITS: Final = 5000
# The host ends a function after a minute (functionTimeout in host.json).
MAX_DURATION: Final = timedelta(seconds=40)
_TELL_SECONDS: Final = 15.0
# A task that cannot be told for so long after its time is up is not told at all.
_GRACE: Final = timedelta(days=1)

_log = logging.getLogger("nextstage.sweep")


@dataclass(slots=True)
class Swept:
    """What came of a sweep, as counts of waits."""

    open: int = 0
    told: int = 0
    given_up: int = 0


class Sweep:
    """Tells tasks what is known already, asks Azure ML for the rest, and ends what has waited for too long."""

    def __init__(
        self,
        journal: Journal,
        waits: Waits,
        runs: AmlRuns | None,
        *,
        after: timedelta,
        timeout: timedelta,
        clock: Clock = utc_now,
    ) -> None:
        """
        :param runs: None where Azure ML is not asked.
        :param after: for how long an event is waited for before Azure ML is asked.
        :param timeout: for how long a task may wait.
        """
        self._journal = journal
        self._waits = waits
        self._runs = runs
        self._after = after
        self._timeout = timeout
        self._clock = clock

    def run(self) -> Swept:
        """Look at every open wait once, the oldest first, for at most ``MAX_DURATION``.

        :raises JournalUnavailable: the store does not answer.
        """
        ends_at = self._clock() + MAX_DURATION
        swept = Swept()
        runs = self._runs
        found = self._journal.select(Selection(route_prefix=WAIT_PREFIX, states=OPEN_STATES), MAX_WAITS)
        for record in sorted(found, key=lambda record: Wait.of(record).registered_at):
            if self._clock() >= ends_at:
                _log.warning("the sweep ran out of time; the next one goes on with the waits that are left")
                break
            swept.open += 1
            wait = Wait.of(record)
            try:
                end = self._waits.known_end(wait) or self._ask(wait, runs, ends_at)
            except RunStatusUnavailable as exc:
                _log.warning("%s; the other waits of this sweep are left to their events", exc)
                end = runs = None
            if end is not None:
                self._tell(record, telling_of(end), ends_at, swept)
            elif self._age(wait) > self._timeout:
                self._end(record, wait, ends_at, swept)
        _log.info("%d tasks wait; %d were told, %d given up", swept.open, swept.told, swept.given_up)
        return swept

    def _ask(self, wait: Wait, runs: AmlRuns | None, ends_at: datetime) -> RunEnd | None:
        """:raises RunStatusUnavailable: Azure ML does not answer."""
        if runs is None or self._age(wait) <= self._after or not names_workspace(wait.workspace, runs.workspace_id):
            return None
        return runs.end_of(wait.run_id, ends_at)

    def _age(self, wait: Wait) -> timedelta:
        return self._clock() - wait.registered_at

    def _end(self, record: Record, wait: Wait, ends_at: datetime, swept: Swept) -> None:
        hours = self._timeout / timedelta(hours=1)
        _log.error(
            "%s waits for run %s since %s; after %g h it fails", wait.task, wait.run_id, wait.registered_at, hours
        )
        told = self._tell(record, telling_of_silence(wait.run_id, hours), ends_at, swept)
        if not told and self._age(wait) > self._timeout + _GRACE:
            with suppress(ClaimLost):  # somebody else has just taken it up
                self._waits.give_up(record, f"{wait.task} could not be told for {_GRACE.days} day that its time is up")
                swept.given_up += 1

    def _tell(self, record: Record, telling: Telling, ends_at: datetime, swept: Swept) -> bool:
        deadline = min(ends_at, self._clock() + timedelta(seconds=_TELL_SECONDS))
        decision = self._waits.tell(record, telling, deadline)
        told = decision is None or decision.outcome is not Outcome.DEFERRED
        swept.told += told
        return told
