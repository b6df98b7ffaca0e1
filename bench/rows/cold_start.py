"""Rows 1 and 2: the time of a cold start. Row 10b: the memory after it."""

from itertools import count
from pathlib import Path

from bench.comparison import Comparison, Target, interleave
from bench.fresh_process import Printed, deploy, run
from bench.programs.events import event_text
from bench.sizes import Sizes
from bench.workload import (
    app_request,
    compose_app,
    environment,
    new_sqlite_journal,
    shipped_routes_without_tags,
)
from devstack import processes

_MINIMAL = "import azure.functions, requests, and one POST"


def first_event(sizes: Sizes, folder: Path) -> list[Comparison]:
    """Measure the time from the start of a process until it has queued its first run.

    The routes are the project's. They name pipelines, so the app looks up the id of the pipeline first. The journal
    exists already, as it does at every start except the very first.
    """
    event, body, routes = folder / "event.json", folder / "body.json", folder / "shipped.yaml"
    journal, numbers = new_sqlite_journal(folder), count(1)
    routes.write_text(shipped_routes_without_tags(), encoding="utf-8")
    carried, sources = (deploy(folder / name, with_bytecode=name == "carried") for name in ("carried", "sources"))
    with processes.start("devstack.ado", env={}, cwd=folder, log=folder / "ado.log") as ado:
        request = app_request(compose_app(folder, ado.url, journal))
        body.write_bytes(request.body or b"")

        def ours(app: Path) -> Printed:
            event.write_text(event_text(next(numbers)), encoding="utf-8")
            return run("first_event", str(event), app=app, environment=environment(ado.url, journal, routes))

        def minimal() -> Printed:
            return run("minimal", request.url, str(body), app=carried, environment=environment(ado.url, "", routes))

        memory: list[tuple[float, float]] = []

        def measured(ours: Printed, theirs: Printed) -> tuple[float, float]:
            memory.append((int(ours.words[0]) / 2**20, int(theirs.words[0]) / 2**20))
            return ours.seconds * 1000, theirs.seconds * 1000

        with_bytecode = [measured(*pair) for pair in interleave(lambda: ours(carried), minimal, sizes.repeats)]
        without = [measured(*pair) for pair in interleave(lambda: ours(sources), minimal, sizes.repeats)]
    measure = "cold: new process → first event queued"
    return [
        Comparison("1", measure, _MINIMAL, "ms", with_bytecode, Target("≤", 1.35)),
        Comparison("1b", f"{measure}, the app without bytecode", _MINIMAL, "ms", without),
        Comparison("10b", "memory (RSS) after the first event", _MINIMAL, "MiB", memory[: sizes.repeats]),
    ]


def imports(sizes: Sizes, folder: Path) -> list[Comparison]:
    """Measure the import of function_app, after which the worker can list the functions."""
    app = deploy(folder / "app", with_bytecode=True)

    def seconds(module: str) -> float:
        return float(run("import_time", module, app=app, environment={}).words[0]) * 1000

    pairs = interleave(lambda: seconds("function_app"), lambda: seconds("azure.functions"), sizes.repeats)
    return [Comparison("2", "import of function_app", "import azure.functions alone", "ms", pairs, Target("≤", 1.25))]
