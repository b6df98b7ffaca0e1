"""What needs a person first."""

from collections.abc import Collection
from datetime import datetime
from itertools import islice
from typing import Final, NamedTuple

from shared.errors import UnreadableRecord
from shared.journal.journal import Journal
from shared.journal.records import UNROUTED, Record, State
from shared.journal.stored_form import Found
from shared.notifications.losses import Loss, journaled_losses
from shared.redrive import awaits_redrive, may_have_run
from tools.actions.orphans import ListedOrphan, listed_orphans
from tools.page.reading.journal_file import (
    ABOUT_EVENTS,
    BY_AGE,
    DEFERRED_STATES,
    Condition,
    JournalFile,
    Moment,
    Row,
    read_only,
    read_time,
)

SHOWN: Final = 5
MAX_COUNTED: Final = 10_000
_MAX_READ: Final = 2000
_MAX_FOUND: Final = 100
_MAX_CLAIMS_READ: Final = 50


class Attention(NamedTuple):
    """What needs a person first.

    :param parked: the number of parked events.
    :param oldest_parked: when the oldest of them was claimed; None if there are none.
    :param newest_parked: the newest ones, which may not be readable.
    :param cannot_tell: parked because a run may exist: a person has to decide. The newest ones, at most a hundred.
    :param unrouted: how many of the parked events could not be checked against any route.
    :param deferred: the number of events that are not finished, at most ``MAX_COUNTED``.
    :param oldest_deferred: those whose claim is the oldest, and on which no delivery works at present.
    :param interrupted: those that only a redrive finishes, because one was interrupted. The newest ones, at most a
        hundred.
    :param orphans: second runs that are not canceled yet, the oldest first.
    :param losses: notifications that were lost, the latest first.
    :param unreadable: records that were looked at, and cannot be read.
    :param unknown_states: the number of records in states that this version does not know.
    """

    parked: int
    oldest_parked: datetime | None
    newest_parked: tuple[Found, ...]
    cannot_tell: tuple[Record, ...]
    unrouted: int
    deferred: int
    oldest_deferred: tuple[Record, ...]
    interrupted: tuple[Record, ...]
    orphans: tuple[ListedOrphan, ...]
    losses: tuple[Loss, ...]
    unreadable: tuple[UnreadableRecord, ...]
    unknown_states: int

    @property
    def is_nothing(self) -> bool:
        """Whether nothing needs a person. Deferred events come again on their own, unless a redrive was interrupted."""
        known = self.parked or self.interrupted or self.orphans or self.losses
        return not (known or self.unreadable or self.unknown_states)


def attention(file: JournalFile, journal: Journal, now: datetime) -> Attention:
    """Return what needs a person first.

    :param journal: the records in the same file.
    :param now: by the store's clock.
    :raises JournalUnavailable: the file does not answer.
    """
    with file.moment() as moment:
        parked = moment.number(f"SELECT count(*) FROM {BY_AGE} WHERE state = ?", (State.PARKED,))
        oldest = next(moment.query(f"SELECT min(claimed_at) FROM {BY_AGE} WHERE state = ?", (State.PARKED,)), (None,))
        newest = list(islice(moment.newest_first([State.PARKED], Condition()), SHOWN))
        in_doubt = _with_step(moment, [State.PARKED], State.UNCERTAIN)
        redriven = _with_step(moment, DEFERRED_STATES, State.PARKED)
        unrouted = "SELECT count(*) FROM records WHERE route = ? AND +state = ?"
        unrouted_count = moment.number(unrouted, (UNROUTED, State.PARKED))
        deferred, oldest_deferred = _deferred(moment)
        unknown_states = sum(moment.unknown_states().values())
    found = {
        kind: file.records(rows) for kind, rows in (("newest", newest), ("doubt", in_doubt), ("redriven", redriven))
    }
    waiting = file.records(oldest_deferred)
    unreadable: list[UnreadableRecord] = []
    orphans = tuple(listed_orphans(journal, None, unreadable.append))
    losses = tuple(journaled_losses(journal, unreadable.append))
    unreadable += [one for each in (*found.values(), waiting) for one in each if isinstance(one, UnreadableRecord)]
    resting = [record for record in read_only(waiting) if record.lease_until <= now]
    return Attention(
        parked,
        None if oldest[0] is None else read_time(oldest[0]),
        tuple(found["newest"]),
        tuple(record for record in read_only(found["doubt"]) if may_have_run(record)),
        unrouted_count,
        deferred,
        tuple(sorted(resting, key=lambda record: record.claimed_at)[:SHOWN]),
        tuple(each for each in read_only(found["redriven"]) if each.lease_until <= now and awaits_redrive(each)),
        orphans,
        losses,
        tuple({(one.route, one.key): one for one in unreadable}.values()),
        unknown_states,
    )


def _with_step(moment: Moment, states: Collection[State], step: State) -> list[Row]:
    """Return the newest records in these states whose history may have a step in another state."""
    condition = Condition().and_also("document LIKE ?", f'%"{step}"%')
    rows = islice(moment.newest_first(states, condition), _MAX_READ)
    return list(islice((row for row in rows if row.is_hit), _MAX_FOUND))


def _deferred(moment: Moment) -> tuple[int, list[Row]]:
    """Return the number of events that are not finished, and those with the oldest claims."""
    count, oldest = 0, []
    for state in DEFERRED_STATES:
        sql = f"SELECT count(*) FROM (SELECT 1 FROM {BY_AGE} WHERE state = ? AND {ABOUT_EVENTS} LIMIT ?)"
        count += moment.number(sql, (state, MAX_COUNTED))
        oldest += moment.oldest_first(state, _MAX_CLAIMS_READ if state is State.CLAIMED else SHOWN)
    return min(count, MAX_COUNTED), oldest
