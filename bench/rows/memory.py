"""Row 10: growth of memory with the number of deliveries."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from bench.comparison import Comparison, Target
from bench.fresh_process import deploy, run
from bench.sizes import Sizes
from bench.workload import ROUTES, environment, new_sqlite_journal
from devstack import processes

THREADS: Final = 8
_MEBIBYTE: Final = 2**20


def memory(sizes: Sizes, folder: Path) -> list[Comparison]:
    """Measure processes that deliver distinct events to a server in another process, one at a time on each core."""
    app, routes = deploy(folder / "app", with_bytecode=True), folder / "routes.yaml"
    routes.write_text(ROUTES, encoding="utf-8")
    counts = (str(sizes.few_deliveries), str(sizes.many_deliveries))
    with processes.start("bench.servers.azure_devops", env={}, cwd=folder, log=folder / "ado.log") as ado:

        def delivered(_: int) -> tuple[float, float]:
            settings = environment(ado.url, new_sqlite_journal(folder), routes)
            after_few, after_many = run("deliveries", str(THREADS), *counts, app=app, environment=settings).words
            return int(after_many) / _MEBIBYTE, int(after_few) / _MEBIBYTE

        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            pairs = list(pool.map(delivered, range(sizes.loads)))
    measure = f"memory (RSS) after {sizes.many_deliveries:,} deliveries"
    return [Comparison("10", measure, f"after {sizes.few_deliveries:,}", "MiB", pairs, Target("≤", 1.05))]
