"""Row 6: the latency of a delivery with the journal in Azure Tables, compared with the same three calls alone."""

import itertools
from pathlib import Path
from typing import Any, Final

import requests
from azure.core import MatchConditions
from azure.core.pipeline.transport import RequestsTransport
from azure.data.tables import TableClient, UpdateMode
from requests.adapters import HTTPAdapter

from bench.comparison import Comparison, Target, interleave
from bench.decision_log import decisions_logged
from bench.load import Load, load
from bench.programs.events import event_text
from bench.rows.throughput import ANSWER_SECONDS
from bench.sizes import Sizes
from bench.workload import BarePost, Deliveries, compose_app
from devstack import processes
from devstack.azurite import Azurite
from shared.composition import App
from shared.journal.tables.store import TABLE_NAME

THREADS: Final = 16


class BareCalls:
    """The three calls of a delivery, made directly with the libraries.

    Claim: create an entity. POST: queue the run. Complete: replace the entity and create its marker.
    """

    def __init__(self, app: App, connection: str) -> None:
        self._post = BarePost(app, connections=THREADS)
        session = requests.Session()
        session.mount("http://", HTTPAdapter(pool_maxsize=THREADS))
        transport = RequestsTransport(session=session)
        self._table = TableClient.from_connection_string(connection, TABLE_NAME, transport=transport, retry_total=0)
        self._numbers = itertools.count()

    def __call__(self) -> None:
        """Make the three calls."""
        number = next(self._numbers)
        event = event_text(number).encode()
        entity: dict[str, Any] = {
            "PartitionKey": "bare",
            "RowKey": f"{number:064x}",
            "state": "claimed",
            "event": event,
        }
        entity["request"] = self._post.body
        claimed = self._table.create_entity(entity, response_preference="return-no-content")
        run_id = self._post().json()["id"]
        marker = {"PartitionKey": "bare", "RowKey": f"run:{run_id:019d}", "owner": entity["RowKey"]}
        condition = {"etag": claimed["etag"], "match_condition": MatchConditions.IfNotModified}
        done = {**entity, "state": "queued", "run_id": run_id}
        self._table.submit_transaction(
            [("update", done, {"mode": UpdateMode.REPLACE, **condition}), ("create", marker)]
        )

    def close(self) -> None:
        """Close the pooled connections."""
        self._table.close()


def latency(sizes: Sizes, folder: Path) -> list[Comparison]:
    """Measure 16 threads with answers after 50 ms and the journal on Azurite."""
    delay = ("--delay-seconds", str(ANSWER_SECONDS))
    with (
        Azurite(folder / "azurite", in_memory=True) as azurite,
        processes.start("bench.servers.azure_devops", *delay, env={}, cwd=folder, log=folder / "ado.log") as ado,
        decisions_logged(),
    ):
        app = compose_app(folder, ado.url, azurite.connection_string)
        deliver, bare = Deliveries(app), BareCalls(app, azurite.connection_string)
        deliver()  # creates the table
        pairs = interleave(
            lambda: load(deliver, THREADS, sizes.seconds), lambda: load(bare, THREADS, sizes.seconds), sizes.loads
        )
        bare.close()
    measure, against = (
        f"latency at {THREADS} threads, answers after 50 ms, Azurite",
        "claim + POST + complete issued bare",
    )
    return [
        Comparison("6", f"p50 {measure}", against, "ms", _milliseconds(pairs, 50), Target("≤", 1.1)),
        Comparison("6b", f"p99 {measure}", against, "ms", _milliseconds(pairs, 99), Target("≤", 1.3)),
    ]


def _milliseconds(pairs: list[tuple[Load, Load]], percent: float) -> list[tuple[float, float]]:
    return [(ours.percentile(percent) * 1000, theirs.percentile(percent) * 1000) for ours, theirs in pairs]
