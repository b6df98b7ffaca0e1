"""Which builds a list of builds shows, and in which order.

``minTime`` and ``maxTime`` are about the time that ``queryOrder`` names: the finish time unless it says otherwise.
With them, a build that has no such time (one that has not finished) is not shown.
"""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime
from operator import attrgetter
from typing import TYPE_CHECKING

from devstack.ado.errors import invalid_argument

if TYPE_CHECKING:
    from collections.abc import Callable

    from devstack.ado.books import RunRecord
    from devstack.ado.call import Call

DEFAULT_TOP = 1_000
# The real API has more, which are refused: better than silently without effect.
_FILTERS = {"definitions", "branchName", "minTime", "maxTime", "queryOrder", "$top", "continuationToken", "api-version"}

_TIMES = {"finishTime": "finished", "queueTime": "created", "startTime": "created"}
_NOT_YET = datetime.max.replace(tzinfo=UTC)


def select_builds(call: Call) -> tuple[list[RunRecord], str | None]:
    """One page of the builds asked for, and the continuation token of the next page if there is one."""
    if unknown := sorted(set(call.request.args) - _FILTERS):
        raise invalid_argument(f"The emulator does not have the filter {unknown[0]}.")
    time_of, descending = _order(call)
    definitions, branch = call.integers("definitions"), call.request.args.get("branchName")
    earliest, latest = _moment(call, "minTime"), _moment(call, "maxTime")

    def is_wanted(run: RunRecord) -> bool:
        if (definitions and run.pipeline_id not in definitions) or (branch and run.branch != branch):
            return False
        moment = time_of(run)
        if moment is None:
            return not (earliest or latest)
        return (not earliest or moment >= earliest) and (not latest or moment <= latest)

    def key(run: RunRecord) -> tuple[datetime, int]:
        return (time_of(run) or _NOT_YET, run.id)

    runs = [run for run in call.books.runs if is_wanted(run)]
    runs.sort(key=key, reverse=descending)
    last = _read_token(call.request.args.get("continuationToken"))
    if last is not None:
        # By position in the order, not by number, so that builds queued in between are neither skipped nor shown
        # twice.
        runs = [run for run in runs if (key(run) < last if descending else key(run) > last)]
    top = call.integer("$top", least=1) or DEFAULT_TOP
    page = runs[:top]
    return page, _write_token(key(page[-1])) if len(runs) > top else None


def _order(call: Call) -> tuple[Callable[[RunRecord], datetime | None], bool]:
    order = call.request.args.get("queryOrder", "finishTimeDescending")
    for name, attribute in _TIMES.items():
        if order.lower() in {f"{name}ascending".lower(), f"{name}descending".lower()}:
            return attrgetter(attribute), order.lower().endswith("descending")
    raise invalid_argument(f"queryOrder must be one of {', '.join(_TIMES)}, followed by Ascending or Descending.")


def _moment(call: Call, name: str) -> datetime | None:
    """A time in the query; one without an offset is UTC."""
    text = call.request.args.get(name)
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as exc:
        raise invalid_argument(f"{name} must be a time like 2026-08-12T08:26:45Z.") from exc
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _write_token(key: tuple[datetime, int]) -> str:
    return base64.urlsafe_b64encode(f"{key[0].isoformat()} {key[1]}".encode()).decode()


def _read_token(token: str | None) -> tuple[datetime, int] | None:
    if token is None:
        return None
    try:
        moment, _, run_id = base64.urlsafe_b64decode(token).decode().partition(" ")
        return datetime.fromisoformat(moment), int(run_id)
    except (binascii.Error, ValueError) as exc:
        raise invalid_argument("The continuation token is not one that this server gave.") from exc
