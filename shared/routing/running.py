"""Which routes.yaml the app runs: a note in the journal, for the commands that compare it with theirs.

Each process of the app writes it when it starts, and the purge at night, which may have removed it. An older process
that still ends its work does not change it.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from shared.errors import UnreadableRecord
from shared.journal.journal import Journal
from shared.journal.records import JournalKey
from shared.journal.stored_form import reading
from shared.routing.table import RouteTable

PARTITION: Final = "$routes"
_KEY: Final = JournalKey(PARTITION, "0")


@dataclass(frozen=True, slots=True)
class RunningRoutes:
    """The table that the app runs.

    :param since: when a process of the app with this table started first, by the clock of the journal.
    """

    digest: str
    count: int
    since: datetime


def announce(journal: Journal, routes: RouteTable) -> None:
    """Write down that the app runs this table. One read, if the note says so already.

    :raises JournalUnavailable: the journal does not answer.
    """
    try:
        known = running_routes(journal)
    except UnreadableRecord:
        known = None
    if known is None or known.digest != routes.digest:
        journal.note(_KEY, json.dumps({"digest": routes.digest, "routes": len(routes.routes)}))


def running_routes(journal: Journal) -> RunningRoutes | None:
    """Return what the app runs; None if no app has written it down.

    :raises JournalUnavailable: the journal does not answer.
    """
    found = journal.get(_KEY)
    if found is None:
        return None
    with reading(_KEY):
        stored = json.loads(found.document)
        return RunningRoutes(str(stored["digest"]), int(stored["routes"]), found.claimed_at)
