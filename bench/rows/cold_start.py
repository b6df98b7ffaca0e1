"""Rows 1 and 2: what a cold start costs, and row 10's first figure: how much memory it takes."""

from itertools import count
from pathlib import Path

from bench.comparison import Comparison, Target, interleave
from bench.fresh_process import Said, deploy, run
from bench.programs.events import event_text
from bench.sizes import Sizes
from bench.workload import (
    composed,
    environment,
    shipped_routes_without_tags,
    sqlite_in,
    wanted_request,
)
from devstack import processes

_MINIMAL = "import azure.functions, requests, and one POST"


def first_event(sizes: Sizes, folder: Path) -> list[Comparison]:
    """From the start of a process to its first run queued.

    With the routes that come with the app, which name their pipelines, so that the pipeline's id is looked up first,
    and with a journal that is there, as it is at every start but the very first.
    """
    event, body, routes = folder / "event.json", folder / "body.json", folder / "shipped.yaml"
    journal, numbers = sqlite_in(folder), count(1)
    routes.write_text(shipped_routes_without_tags(), encoding="utf-8")
    carried, sources = (deploy(folder / name, with_bytecode=name == "carried") for name in ("carried", "sources"))
    with processes.start("devstack.ado", env={}, cwd=folder, log=folder / "ado.log") as ado:
        request = wanted_request(composed(folder, ado.url, journal))
        body.write_bytes(request.body or b"")

        def ours(app: Path) -> Said:
            event.write_text(event_text(next(numbers)), encoding="utf-8")
            return run("first_event", str(event), app=app, environment=environment(ado.url, journal, routes))

        def minimal() -> Said:
            return run("minimal", request.url, str(body), app=carried, environment=environment(ado.url, "", routes))

        memory: list[tuple[float, float]] = []

        def measured(said: Said, other: Said) -> tuple[float, float]:
            memory.append((int(said.words[0]) / 2**20, int(other.words[0]) / 2**20))
            return said.seconds * 1000, other.seconds * 1000

        with_bytecode = [measured(*pair) for pair in interleave(lambda: ours(carried), minimal, sizes.repeats)]
        without = [measured(*pair) for pair in interleave(lambda: ours(sources), minimal, sizes.repeats)]
    measure = "cold: new process → first event queued"
    return [
        Comparison("1", measure, _MINIMAL, "ms", with_bytecode, Target("≤", 1.35)),
        Comparison("1b", f"{measure}, the app without bytecode", _MINIMAL, "ms", without),
        Comparison("10b", "memory (RSS) after the first event", _MINIMAL, "MiB", memory[: sizes.repeats]),
    ]


def imports(sizes: Sizes, folder: Path) -> list[Comparison]:
    """The import of function_app, which is all that the worker needs to index the functions' names."""
    app = deploy(folder / "app", with_bytecode=True)

    def seconds(module: str) -> float:
        return float(run("import_time", module, app=app, environment={}).words[0]) * 1000

    pairs = interleave(lambda: seconds("function_app"), lambda: seconds("azure.functions"), sizes.repeats)
    return [Comparison("2", "import of function_app", "import azure.functions alone", "ms", pairs, Target("≤", 1.25))]
