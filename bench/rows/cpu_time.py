"""Rows 3 and 4: CPU time per delivered event, with and without a network."""

import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import requests
from requests.adapters import BaseAdapter
from urllib3 import HTTPResponse

from bench.comparison import Comparison, Target, alternate
from bench.decision_log import decisions_logged
from bench.servers.azure_devops import emulated_answer
from bench.sizes import Sizes
from bench.workload import AnswersInMemory, BarePost, Deliveries, compose_app, new_sqlite_journal
from devstack import processes
from shared.composition import App

_MICROSECONDS: Final = 1e6


def over_the_network(sizes: Sizes, folder: Path) -> list[Comparison]:
    """Measure one thread with the emulator in another process, the journal in SQLite, and every decision logged."""
    with (
        processes.start("devstack.ado", env={}, cwd=folder, log=folder / "ado.log") as ado,
        decisions_logged(),
    ):
        app = compose_app(folder, ado.url, new_sqlite_journal(folder))
        pairs = _cpu_pairs(app, BarePost(app), sizes)
    against = "one requests.Session().post of the same body"
    return [Comparison("3", "CPU time per delivered event, SQLite", against, "µs", pairs, Target("≤", 1.6))]


def in_memory(sizes: Sizes, folder: Path) -> list[Comparison]:
    """Measure the same with answers from memory on both sides, which leaves the app's own time and the journal's."""
    _, body = emulated_answer()
    with decisions_logged():
        app = compose_app(
            folder, "http://127.0.0.1:1/contoso", new_sqlite_journal(folder), transport=AnswersInMemory(body)
        )
        pairs = _cpu_pairs(app, BarePost(app, adapter=_AdapterInMemory(body)), sizes)
    against = "Session().post, its adapter answering from memory"
    return [Comparison("4", "CPU time per event without a network, journal included", against, "µs", pairs)]


def _cpu_pairs(app: App, theirs: Callable[[], object], sizes: Sizes) -> list[tuple[float, float]]:
    """Return microseconds of CPU time of this process per event, including system calls."""
    return alternate(
        Deliveries(app, ready=sizes.block * (sizes.repeats + 1)),
        theirs,
        clock=lambda: time.process_time() * _MICROSECONDS,
        calls=sizes.block,
        repeats=sizes.repeats,
    )


class _AdapterInMemory(BaseAdapter):
    """An adapter for ``requests`` that answers from memory."""

    def __init__(self, body: bytes) -> None:
        super().__init__()
        self._answers = AnswersInMemory(body)

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        """See ``BaseAdapter.send``."""
        response = requests.Response()
        response.status_code = 200
        response.headers["Content-Type"] = "application/json; charset=utf-8"
        response.raw = HTTPResponse(BytesIO(self._answers.body()), preload_content=False)
        response.request = request
        response.url = request.url or ""
        return response

    def close(self) -> None:
        """Do nothing: the adapter holds no connection."""
