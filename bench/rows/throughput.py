"""Row 5: events per second from many threads, with a server that answers after a delay."""

from pathlib import Path
from typing import Final

from bench.comparison import Comparison, Target, interleave
from bench.decision_log import decisions_logged
from bench.load import load
from bench.sizes import Sizes
from bench.workload import BarePost, Deliveries, compose_app, new_sqlite_journal
from devstack import processes

THREADS: Final = 32
ANSWER_SECONDS: Final = 0.05


def throughput(sizes: Sizes, folder: Path) -> list[Comparison]:
    """Measure 32 threads, as ``infra/`` sets for the worker, with answers after 50 ms and the journal in SQLite."""
    delay = ("--delay-seconds", str(ANSWER_SECONDS))
    with (
        processes.start("bench.servers.azure_devops", *delay, env={}, cwd=folder, log=folder / "ado.log") as ado,
        decisions_logged(),
    ):
        app = compose_app(folder, ado.url, new_sqlite_journal(folder))
        deliver, post = Deliveries(app), BarePost(app, connections=THREADS)
        pairs = interleave(
            lambda: load(deliver, THREADS, sizes.seconds).per_second,
            lambda: load(post, THREADS, sizes.seconds).per_second,
            sizes.loads,
        )
    measure = f"throughput at {THREADS} threads, answers after 50 ms, SQLite"
    target = Target("≥", 0.92)
    return [Comparison("5", measure, "the same loop with bare Session.post", "events/s", pairs, target)]
