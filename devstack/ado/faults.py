"""Planned faults, which make some of the next requests fail.

A fault defines whether the request is still carried out (``accept``), how long that takes, and what the client
receives. Combinations of these result in lost answers, throttling, slow answers or a sign-in page with status 200.
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
    """A fault is invalid. The message names the field and the reason."""


@dataclass(frozen=True, kw_only=True)
class Match:
    """Selects requests by method ("*" for any), and by a case-insensitive regular expression searched in the path."""

    method: str = "POST"
    path: str = RUN_PATH

    def __post_init__(self) -> None:
        try:
            re.compile(self.path)
        except re.error as exc:
            raise FaultError(f"match.path: must be a regular expression, got {self.path!r}: {exc}") from exc

    def covers(self, method: str, path: str) -> bool:
        return self.method in {ANY_METHOD, method} and re.search(self.path, path, re.IGNORECASE) is not None


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One planned fault.

    - ``accept``: whether the request is carried out.
    - ``times``: the number of matching requests that the fault applies to.
    - ``delay_before_seconds``: the delay before the request is carried out.
    - ``delay_after_seconds``: the delay between carrying out the request and the answer.
    - ``status``, ``headers`` and ``body``: the answer that the client receives. The status is 200 if there is only a
      body. The body is JSON or a string; a string that begins with "<" is sent as an HTML page.
    - ``drop``: resets the connection instead of sending an answer.
    - ``behavior``: switches that are changed for these requests. See ``Behavior``.

    Without ``status``, ``body`` and ``drop``, the client receives the real answer, with ``headers`` added.
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
    behavior: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.drop and (self.status is not None or self.headers or self.body is not None):
            raise FaultError("drop: a dropped connection has no status, headers or body")
        if not (self.accept or self.drop or self.replaces_answer):
            raise FaultError("accept: a request that is not carried out has no real answer; set status, body or drop")

    @property
    def replaces_answer(self) -> bool:
        return self.status is not None or self.body is not None


def apply_fault(fault: Fault, carry_out: Callable[[], Response], wait: Callable[[float], None]) -> Response:
    """Apply a fault to one request. ``wait`` waits for a number of seconds.

    :raises ConnectionDropped: the fault drops the connection.
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
    """The planned faults, first in, first out. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left: list[tuple[Fault, int]] = []

    def add(self, *faults: Fault) -> None:
        with self._lock:
            self._left.extend((fault, fault.times) for fault in faults)

    def clear(self) -> int:
        """Remove all planned faults, and return their number."""
        with self._lock:
            count = len(self._left)
            self._left.clear()
            return count

    @property
    def pending(self) -> tuple[tuple[Fault, int], ...]:
        """The planned faults, each with the number of times that it still applies."""
        with self._lock:
            return tuple(self._left)

    def take(self, method: str, path: str) -> Fault | None:
        """Return the first planned fault that matches the request, or None, and reduce its remaining times by one."""
        with self._lock:
            for index, (fault, left) in enumerate(self._left):
                if fault.match.covers(method, path):
                    self._left[index : index + 1] = [(fault, left - 1)] if left > 1 else []
                    return fault
            return None


def parse_faults(document: object) -> list[Fault]:
    """Return the faults in a JSON list, whose items have the fields of ``Fault`` and ``Match``.

    :raises FaultError: a fault is invalid. The message includes its position in the list, the field and the reason.
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
