"""What an operator can do with a record. Pure: the journal decides again when it is done."""

from typing import NamedTuple

from shared.azure_devops.runs import Run
from shared.journal.records import Record, State
from shared.redrive import REDRIVABLE_STATES, may_have_run
from tools.actions.records import candidates
from tools.actions.resume.deferred import Deferred


class Choices(NamedTuple):
    """The changes that the page of a record offers.

    :param without_looking: whether to offer a redrive that does not search for a run that may exist.
    :param adopt: whether a run can be adopted.
    :param candidates: the runs of which one may be the record's.
    :param try_now: whether the record is tried again later, and can be tried now.
    """

    redrive: bool = False
    without_looking: bool = False
    adopt: bool = False
    candidates: tuple[Run, ...] = ()
    try_now: bool = False

    @property
    def is_any(self) -> bool:
        """Whether there is anything to do."""
        return self.redrive or self.try_now


def choices(record: Record, again: Deferred | None) -> Choices:
    """Return what can be done with the record in its state.

    :param again: when the record is tried again; None if it is not, or if there is no queue.
    """
    if not record.key.is_about_event or record.state not in REDRIVABLE_STATES:
        return Choices()
    can_tell = not (record.state is State.PARKED and may_have_run(record))
    return Choices(
        redrive=True,
        without_looking=not can_tell,
        adopt=bool(record.entry.request),
        candidates=() if can_tell else candidates(record),
        try_now=again is not None,
    )
