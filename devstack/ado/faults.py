"""Planned faults: what goes wrong with which of the coming requests.

A fault says whether the request is carried out all the same (``accept``), how long that takes, and what the client
sees of it. Lost answers, throttling, a sign-in page with status 200, slow answers: all are combinations.
"""

from __future__ import annotations

import json
import re
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from werkzeug.wrappers import Response

from devstack.ado.schemas import problems
from devstack.http_server import ConnectionDropped

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

RUN_PATH = r"/_apis/pipelines/\d+/runs/?$"
EVENTS_PATH = r"/_apis/distributedtask/hubs/[^/]+/plans/[^/]+/events/?$"
ANY_METHOD = "*"


class FaultError(ValueError):
    """A fault that makes no sense; the text says which field is wrong and why."""


@dataclass(frozen=True, kw_only=True)
class Match:
    """Which requests: a method ("*" for any) and a regular expression that is searched in the path, in any case."""

    method: str = "POST"
    path: str = RUN_PATH

    def __post_init__(self) -> None:
        try:
            re.compile(self.path)
        except re.error as exc:
            raise FaultError(f"match.path: {self.path!r} is not a regular expression: {exc}") from exc

    def covers(self, method: str, path: str) -> bool:
        return self.method in {ANY_METHOD, method} and re.search(self.path, path, re.IGNORECASE) is not None


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One planned fault.

    ``accept``: whether the request is really carried out. ``times``: how many matching requests it applies to.
    ``delay_before_seconds`` pass before it is carried out, ``delay_after_seconds`` after it, before the answer.
    The client then sees ``status`` (200 if only a body is given), ``headers`` and ``body`` (JSON or text; text that
    begins with "<" is an HTML page), or with ``drop`` a reset connection, or with none of these the true answer,
    to which ``headers`` are added.
    """

    accept: bool
    match: Match = field(default_factory=Match)
    times: int = 1
    delay_before_seconds: float = 0
    delay_after_seconds: float = 0
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: object = None
    drop: bool = False

    def __post_init__(self) -> None:
        if self.drop and (self.status is not None or self.headers or self.body is not None):
            raise FaultError("drop: a dropped connection has no status, headers or body")
        if not (self.accept or self.drop or self.replaces_answer):
            raise FaultError("accept: a request that is not carried out has no true answer; say status, body or drop")

    @property
    def replaces_answer(self) -> bool:
        return self.status is not None or self.body is not None


def apply_fault(fault: Fault, carry_out: Callable[[], Response], wait: Callable[[float], None]) -> Response:
    """Does to one request what the fault says; ``wait`` takes seconds.

    :raises ConnectionDropped: where the client is to get no answer.
    """
    wait(fault.delay_before_seconds)
    answer = carry_out() if fault.accept else None
    wait(fault.delay_after_seconds)
    if fault.drop:
        raise ConnectionDropped("a planned fault")
    if answer is None or fault.replaces_answer:
        answer = _planned_answer(fault)
    answer.headers.update(fault.headers)
    return answer


def _planned_answer(fault: Fault) -> Response:
    status = 200 if fault.status is None else fault.status
    if fault.body is None:
        return Response(b"", status)
    if not isinstance(fault.body, str):
        return Response(json.dumps(fault.body), status, content_type="application/json; charset=utf-8")
    kind = "text/html" if fault.body.lstrip().startswith("<") else "text/plain"
    return Response(fault.body, status, content_type=f"{kind}; charset=utf-8")


class FaultPlan:
    """The faults to come, first in first out; safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left: list[tuple[Fault, int]] = []

    def add(self, *faults: Fault) -> None:
        with self._lock:
            self._left.extend((fault, fault.times) for fault in faults)

    def clear(self) -> int:
        """Forgets what is planned; the answer is how many faults that were."""
        with self._lock:
            count = len(self._left)
            self._left.clear()
            return count

    @property
    def pending(self) -> tuple[tuple[Fault, int], ...]:
        """What is still to come: each fault with the number of times left."""
        with self._lock:
            return tuple(self._left)

    def take(self, method: str, path: str) -> Fault | None:
        """The first planned fault that covers the request, used up by one time; None where there is none."""
        with self._lock:
            for index, (fault, left) in enumerate(self._left):
                if fault.match.covers(method, path):
                    self._left[index : index + 1] = [(fault, left - 1)] if left > 1 else []
                    return fault
            return None


def parse_faults(document: object) -> list[Fault]:
    """A JSON list of faults, with the fields of ``Fault`` and ``Match``.

    :raises FaultError: naming the fault's place in the list, the field, and what is wrong with it.
    """
    if found := problems("faults", document):
        raise FaultError("\n".join(found))
    faults = []
    for index, item in enumerate(cast("list[dict[str, Any]]", document)):
        try:
            faults.append(Fault(**{**item, "match": Match(**item.get("match", {}))}))
        except FaultError as exc:
            raise FaultError(f"[{index}] {exc}") from exc
    return faults
