"""Delivers the events of a case to the app's own code, with an empty journal. Azure DevOps takes every run."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import count
from json import dumps
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from handlers import DISPATCH
from shared.azure_devops.runs import Run, RunRequest
from shared.deciding import Verdict
from shared.errors import DeliveryDeferred
from shared.journal.cooldown import Cooldowns
from shared.journal.journal import Journal
from shared.journal.records import UNROUTED, JournalKey, Selection
from shared.journal.sqlite import SqliteStore
from shared.queueing.queueing import Queueing
from shared.relay import Relay
from shared.resume.gathering import Gathering
from shared.resume.period import group_key, open_period, run_record
from shared.resume.sqlite_queue import SqliteQueue
from shared.routing.table import Match, RouteTable
from shared.telemetry import Decision
from tools.routes.cases.reading import REQUEST_KEYS, Case

if TYPE_CHECKING:
    from shared.queueing.pipelines import Pipelines

_NOW: Final = datetime(2026, 1, 1, tzinfo=UTC)
_MAX_RECORDS: Final = 10_000

Play = Callable[[Case], "Played"]


class Played(NamedTuple):
    """What the app does with the event of a case.

    :param runs: for each route that matches, the outcome, the reason for it, and the values of the request. If the
        event is gathered, they are those of the run that follows if no other event comes.
    """

    verdict: Verdict
    runs: Mapping[str, Mapping[str, Any]]


class _Accepting:
    """Takes every run, as Azure DevOps does if nothing is wrong. The relay asks for nothing else then."""

    def __init__(self) -> None:
        self._numbers = count(1)

    def run(self, request: RunRequest, deadline: datetime, orchestration_id: str) -> Run:  # noqa: ARG002 - the protocol
        return Run(next(self._numbers), "")

    def tag(self, request: RunRequest, run: Run, tags: Sequence[str], deadline: datetime) -> None:
        pass

    def admit(self, organization_url: str) -> float:  # noqa: ARG002 - the protocol
        return 0

    def sender(self) -> str:
        return ""


@contextmanager
def playing(table: RouteTable) -> Iterator[Play]:
    """Yield a function that plays a case."""
    with (
        TemporaryDirectory(prefix="nextstage-") as folder,
        closing(SqliteStore(Path(folder) / "journal.sqlite3")) as store,
    ):
        now, decisions = _NOW, list[Decision]()
        journal = Journal(store, clock=lambda: now)
        queueing = Queueing(journal, cast("Pipelines", _Accepting()), Cooldowns(store, lambda: now), clock=lambda: now)
        relay = Relay(
            dispatch=DISPATCH,
            routes=table,
            journal=journal,
            queueing=queueing,
            gatherings=Gathering(journal, SqliteQueue(store, timedelta(), lambda: now), clock=lambda: now),
            report=decisions.append,
            clock=lambda: now,
        )

        def request_of(match: Match) -> RunRequest:
            """Return what is requested now, or when the period of the event ends."""
            route = match.key.route
            period = match.gather and open_period(journal.get(group_key(route, match.gather.by)))
            if not period:
                return match.request
            run = run_record(JournalKey(route, period.gathered.into), journal.get(match.key), period, now)
            after = [each for each in relay.decide_again(run).decisions if isinstance(each, Match)]
            return next((each.request for each in after if each.key.route == route), match.request)

        def play(case: Case) -> Played:
            nonlocal now
            for record in store.select(Selection(), _MAX_RECORDS):  # those of the case before
                store.delete(record)
            earlier = sorted(case.earlier, key=lambda each: each.ago, reverse=True)
            for event, ago in (*earlier, (case.event, timedelta())):
                now = _NOW - ago
                decisions.clear()
                with suppress(DeliveryDeferred):  # the decision says so, too
                    relay.deliver(dumps(event))
            return _played(relay.decide(dumps(case.event)), decisions, request_of)

        yield play


def _played(verdict: Verdict, decisions: Iterable[Decision], request_of: Callable[[Match], RunRequest]) -> Played:
    decided = {each.route or UNROUTED: each for each in decisions}
    runs: dict[str, dict[str, Any]] = {}
    for each in verdict.decisions:
        request = request_of(each)._asdict() if isinstance(each, Match) else {}
        decision = decided[each.key.route]
        values = {key: request[key] for key in REQUEST_KEYS if key in request}
        runs[each.key.route] = {"outcome": decision.outcome.value, "reason": decision.reason, **values}
    return Played(verdict, runs)
