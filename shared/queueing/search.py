"""Search Azure DevOps for the run of a lost request, and judge whose each listed run is.

- A run with the request's orchestration ID is its run, and one with that of another record's key is not.
- Any other run must be free: no record of the organization owns it, and no other worker may still get it as its answer.
- A run with the value of the correlation parameter is then its run; other runs only if everything else is equal too.
- If the listing does not show enough to decide, nobody may guess: sending again could double a run, adopting could lose
  one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from shared.azure_devops.reconcile import (
    Build,
    Expected,
    extra_parameters,
    extra_variables,
    group_by_likeness,
    likeness_of,
    may_be_reformatted,
)
from shared.azure_devops.runs import RunRequest
from shared.azure_devops.values import Likeness
from shared.errors import RequestRefused
from shared.journal.journal import Journal
from shared.journal.records import JournalKey, Record, State
from shared.queueing.pipelines import Pipelines, orchestration_id

MARGIN: Final = timedelta(seconds=30)
"""How much a measured difference of clocks may be wrong, or have changed since the request was sent.

As short as possible: a search reads all runs of the period, and a busy pipeline has many.
"""

_PRECISION: Final = timedelta(seconds=2)
"""By how much a measured difference of clocks is usually wrong. Between this and ``MARGIN``, ownership is unclear."""

_OVERLAP: Final = timedelta(seconds=5)
"""How much of the period before it a search reads again that continues another process's search."""


@dataclass(frozen=True, slots=True)
class LostRequest:
    """A request that may have queued a run.

    :param sender: the fingerprint of the credential that it was sent with; empty if unknown.
    :param since: the run was not queued before this time. All times are the journal's.
    :param until: the run was not queued after this time.
    :param searched_until: an earlier search has found no candidate among the runs that were queued before this time.
    """

    key: JournalKey
    request: RunRequest
    sender: str
    since: datetime
    until: datetime
    searched_until: datetime | None = None

    @classmethod
    def of(cls, record: Record) -> "LostRequest":
        """Return the lost request of a record.

        :raises ValueError: the store has cut the request.
        """
        request, until = RunRequest.from_json(record.entry.request), record.lost_until or record.settled_at
        return cls(record.key, request, record.sender, record.claimed_at, until, record.searched_until)


class Found(NamedTuple):
    """The runs that may be adopted, the best one first.

    :param is_certain: they carry the request's orchestration ID.
    :param has_rivals: another record's request may have queued some of them.
    """

    builds: Sequence[Build]
    is_certain: bool
    has_rivals: bool = False


class Unclear(NamedTuple):
    """The listing does not show whether one of these is the request's run."""

    builds: Sequence[Build]


class NotYet(NamedTuple):
    """It can be decided later."""

    reason: str


class Search:
    """The search for the run of one request."""

    def __init__(self, journal: Journal, pipelines: Pipelines, lost: LostRequest) -> None:
        self._journal = journal
        self._pipelines = pipelines
        self._lost = lost
        self._is_default: dict[frozenset[tuple[str, str]], bool] = {}
        self.searched_until = lost.searched_until
        """No run that was queued before this time is a candidate. A later search can continue here."""

    def find(self, deadline: datetime) -> Found | Unclear | NotYet | None:
        """Return what was found; None if it is certain that there is no run.

        :raises AzureDevOpsError: the search failed. Never AnswerLost.
        """
        listed = self._list(deadline)
        own_id = orchestration_id(self._lost.key)
        ours = [build for build in listed[Likeness.EXACT] if own_id in build.plan_ids]
        if ours:
            return Found(ours, is_certain=True)
        suspects = listed[Likeness.EXACT] or [*listed[Likeness.FIT], *listed[Likeness.UNCLEAR]]
        if not suspects:
            return None
        may_own = self._journal.may_own([build.run.id for build in suspects])
        others = [record for record in may_own if record.key != self._lost.key]
        free = [build for build in suspects if not any(self.owns(record, build, _PRECISION) for record in others)]
        rivals = [record for record in others if any(self._may_have_queued(record, build) for build in free)]
        if (reason := self._who_may_still_get_one(rivals)) is not None:
            return NotYet(reason)
        fitting, unclear = [], []
        for build in free:
            likeness = self._closer_look(build, rivals, deadline) if build in listed[Likeness.FIT] else None
            if likeness is not Likeness.DIFFERENT and any(self.owns(record, build) for record in others):
                unclear.append(build)
            elif likeness is Likeness.FIT or build in listed[Likeness.EXACT]:
                fitting.append(build)
            elif likeness is not Likeness.DIFFERENT:
                unclear.append(build)
        if fitting:
            return Found(fitting, is_certain=False, has_rivals=bool(rivals))
        return Unclear(unclear) if unclear else None

    def owns(self, record: Record, build: Build, margin: timedelta = MARGIN) -> bool:
        """Return whether a record owns this run, not one of another organization or an earlier one with the same ID.

        :param margin: how much before the claim and after the last change of the record the run may have been queued.
        """
        if orchestration_id(record.key) in build.plan_ids:
            return True
        if record.run_id != build.run.id or not self._is_in_organization(record):
            return False
        if build.queued_at is None:
            return True
        queued_at = self._journal.in_store_time(build.queued_at)
        return record.claimed_at - margin <= queued_at <= record.changed_at + margin

    def _list(self, deadline: datetime) -> dict[Likeness, list[Build]]:
        lost, found = self._lost, group_by_likeness((), self._expected(self._lost.request, self._lost.key, None))
        since = lost.since - MARGIN
        if lost.searched_until is not None:
            since = max(since, lost.searched_until - _OVERLAP)
        since, until = (self._journal.in_local_time(at) for at in (since, lost.until + MARGIN))
        is_same_sender = bool(lost.sender) and lost.sender == self._pipelines.sender()
        requester = self._pipelines.requester(lost.request, deadline) if is_same_sender else None
        is_requester_hidden = is_same_sender and requester is None
        expected = self._expected(lost.request, lost.key, requester)
        for page in self._pipelines.builds(lost.request, since, until, deadline):
            judged = group_by_likeness(page, expected)
            if is_requester_hidden:
                judged[Likeness.UNCLEAR] += judged.pop(Likeness.FIT)
                judged[Likeness.FIT] = []
            for likeness, builds in judged.items():
                found[likeness] += builds
            if judged[Likeness.EXACT]:
                break
            if not found[Likeness.FIT] and not found[Likeness.UNCLEAR]:
                last = max((build.queued_at for build in page if build.queued_at), default=None)
                self.searched_until = self._journal.in_store_time(last) if last else self.searched_until
        return found

    @staticmethod
    def _expected(request: RunRequest, key: JournalKey, requester: str | None) -> Expected:
        return Expected(request, orchestration_id(key), requester)

    def _is_in_organization(self, record: Record) -> bool:
        """Return whether a record's run is in the same organization; true if its request cannot be read."""
        request = _request_of(record)
        return request is None or request.organization_url == self._lost.request.organization_url

    def _may_have_queued(self, record: Record, build: Build) -> bool:
        """Return whether the request of another record, which has no run yet, may have queued this run."""
        request = _request_of(record)
        mine = self._lost.request
        if record.run_id is not None or request is None:
            return False
        if (request.organization_url, request.project) != (mine.organization_url, mine.project):
            return False
        if build.queued_at is not None:
            queued_at = self._journal.in_store_time(build.queued_at)
            until = record.lost_until or record.settled_at
            if not record.claimed_at - MARGIN <= queued_at <= until + MARGIN:
                return False
        return likeness_of(build, self._expected(request, record.key, None)) is not Likeness.DIFFERENT

    def _who_may_still_get_one(self, rivals: Iterable[Record]) -> str | None:
        """Return why one of the runs may still become the answer to another worker's request; None if it cannot.

        A worker whose lease has expired loses its claim here. If it continues after all, it cannot write down its run.
        """
        for record in rivals:
            is_held = record.lease_until > record.changed_at
            is_sending = record.state is State.CLAIMED or record.settled_at > record.changed_at
            if record.state is State.PARKED or not is_held or not is_sending:
                continue
            name = f"record {record.key.key[:12]} of route {record.key.route}, which has an equal request,"
            if self._journal.now() < record.lease_until:
                return f"{name} is being queued at this moment"
            if not self._journal.fence(
                record, "its lease expired, and another event with an equal request needs to know"
            ):
                return f"{name} has just changed"
        return None

    def _closer_look(self, build: Build, rivals: Sequence[Record], deadline: datetime) -> Likeness:
        """Compare what the request does not name or the list does not show."""
        requests = (_request_of(record) for record in rivals if self._may_have_queued(record, build))
        others = [other for other in requests if other is not None]
        for compare in (self._variables_and_version, self._parameters, self._stages):
            likeness = compare(build, others, deadline)
            if likeness is not Likeness.FIT:
                return likeness
        return Likeness.FIT

    def _variables_and_version(self, build: Build, others: Sequence[RunRequest], _: datetime) -> Likeness:
        request = self._lost.request
        if extra_variables(build, request):
            is_of_other = any(not extra_variables(build, other) for other in others)
            return Likeness.DIFFERENT if is_of_other else Likeness.UNCLEAR
        if request.pipeline_version is None and any(other.pipeline_version is not None for other in others):
            return Likeness.UNCLEAR
        return Likeness.FIT

    def _parameters(self, build: Build, _: Sequence[RunRequest], deadline: datetime) -> Likeness:
        """Compare the parameters that the request does not send: are they the defaults?"""
        request = self._lost.request
        extras = extra_parameters(build, request)
        try:
            if not extras or self._are_defaults(extras, deadline):
                return Likeness.FIT
        except RequestRefused:
            return Likeness.UNCLEAR
        return Likeness.UNCLEAR if may_be_reformatted(build, request) else Likeness.DIFFERENT

    def _stages(self, build: Build, others: Sequence[RunRequest], deadline: datetime) -> Likeness:
        """Compare the skipped stages, which only the timeline of the run shows."""
        skip = _lower(self._lost.request.stages_to_skip)
        skipped_by_others = _lower(stage for other in others for stage in other.stages_to_skip)
        if not skip and not skipped_by_others:
            return Likeness.FIT
        skipped = self._pipelines.skipped_stages(self._lost.request, build.run.id, deadline)
        if skipped is None:
            return Likeness.UNCLEAR
        if not skip <= skipped:
            return Likeness.DIFFERENT
        # Other stages may have been skipped by their conditions, or by the request of another record.
        return Likeness.UNCLEAR if (skipped_by_others - skip) & skipped else Likeness.FIT

    def _are_defaults(self, extras: dict[str, str], deadline: datetime) -> bool:
        key = frozenset(extras.items())
        if key not in self._is_default:
            self._is_default[key] = self._pipelines.adds_nothing(self._lost.request, extras, deadline)
        return self._is_default[key]


def _request_of(record: Record) -> RunRequest | None:
    try:
        return RunRequest.from_json(record.entry.request)
    except (ValueError, TypeError, KeyError):
        return None


def _lower(stages: Iterable[str]) -> frozenset[str]:
    return frozenset(stage.lower() for stage in stages)
