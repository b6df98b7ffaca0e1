"""Row 7: events per second of a running app, compared with a new process for each event."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from bench.comparison import Comparison, Target, interleave
from bench.decision_log import decisions_logged
from bench.fresh_process import deploy, run
from bench.load import load
from bench.servers.key_vault import CERTIFICATE_FILE, IDENTITY_HEADER, VAULT_FILE
from bench.sizes import Sizes
from bench.workload import PAT, Deliveries, app_request, compose_app, new_sqlite_journal
from devstack import processes

THREADS: Final = 16


def one_shot(sizes: Sizes, folder: Path) -> list[Comparison]:
    """Measure with one process per core at a time for the alternative. The server answers immediately."""
    cores = os.cpu_count() or 1
    app_folder, body = deploy(folder / "app", with_bytecode=True), folder / "body.json"
    with (
        processes.start("bench.servers.azure_devops", env={}, cwd=folder, log=folder / "ado.log") as ado,
        processes.start(
            "bench.servers.key_vault", "--folder", str(folder), env={}, cwd=folder, log=folder / "vault.log"
        ) as identity,
        decisions_logged(),
    ):
        app = compose_app(folder, ado.url, new_sqlite_journal(folder))
        request = app_request(app)
        body.write_bytes(request.body or b"")
        deliver = Deliveries(app)
        vault = ((folder / VAULT_FILE).read_text(encoding="ascii"), str(folder / CERTIFICATE_FILE))
        settings = {
            "AZURE_DEVOPS_EXT_PAT": PAT,
            "IDENTITY_ENDPOINT": identity.url,
            "IDENTITY_HEADER": IDENTITY_HEADER,
        }

        def per_second(call: Callable[[], object], threads: int) -> float:
            return load(call, threads, sizes.seconds).per_second

        def pairs(arguments: Sequence[str]) -> list[tuple[float, float]]:
            def process() -> object:
                return run("one_shot", request.url, str(body), *arguments, app=app_folder, environment=settings)

            return interleave(lambda: per_second(deliver, THREADS), lambda: per_second(process, cores), sizes.loads)

        with_vault, without = pairs(vault), pairs(())
    measure, alternative = "events per second, warm", "a new process for each event"
    target = Target("≥", 50)
    return [
        Comparison("7", measure, f"{alternative}, PAT in Key Vault", "events/s", with_vault, target),
        Comparison("7b", measure, f"{alternative}, PAT in the environment", "events/s", without, target),
    ]
