"""Filters, sorts and pages a list of builds.

``minTime`` and ``maxTime`` apply to the time that ``queryOrder`` names, by default the finish time. With such a limit,
builds without this time, such as unfinished ones, are not listed.
"""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from devstack.ado.errors import invalid_argument

if TYPE_CHECKING:
    from collections.abc import Callable

    from devstack.ado.call import Call
    from devstack.ado.runs.records import RunRecord

DEFAULT_TOP = 1_000
# The real API has more filters. They are refused here instead of being silently ignored.
_FILTERS = {"definitions", "branchName", "minTime", "maxTime", "queryOrder", "$top", "continuationToken", "api-version"}

_TIMES = ("finishTime", "queueTime", "startTime")
_NOT_YET = datetime.max.replace(tzinfo=UTC)


def select_builds(call: Call, now: datetime) -> tuple[list[RunRecord], str | None]:
    """Return one page of the requested builds, and the continuation token of the next page or None."""
    if unknown := sorted(set(call.request.args) - _FILTERS):
        raise invalid_argument(f"The emulator does not support the filter {unknown[0]}.")
    time_of, descending = _order(call, now)
    definitions, branch = call.integers("definitions"), call.request.args.get("branchName")
    earliest, latest = _moment(call, "minTime"), _moment(call, "maxTime")

    def is_wanted(run: RunRecord) -> bool:
        if run.listed_from > now or (branch and run.branch != branch):
            return False
        if definitions and run.pipeline_id not in definitions:
            return False
        moment = time_of(run)
        if moment is None:
            return not (earliest or latest)
        return (not earliest or moment >= earliest) and (not latest or moment <= latest)

    def key(run: RunRecord) -> tuple[datetime, int]:
        return (time_of(run) or _NOT_YET, run.id)

    runs = [run for run in call.books.known_runs if is_wanted(run)]
    runs.sort(key=key, reverse=descending)
    last = _decode_token(call.request.args.get("continuationToken"))
    if last is not None:
        # Continue after the last build, not at an index. Builds queued meanwhile would shift the index.
        runs = [run for run in runs if (key(run) < last if descending else key(run) > last)]
    top = call.integer("$top", least=1) or DEFAULT_TOP
    page = runs[:top]
    return page, _encode_token(key(page[-1])) if len(runs) > top else None


def _order(call: Call, now: datetime) -> tuple[Callable[[RunRecord], datetime | None], bool]:
    order = call.request.args.get("queryOrder", "finishTimeDescending")
    for name in _TIMES:
        if order.lower() in {f"{name}ascending".lower(), f"{name}descending".lower()}:
            return partial(_time_of, name, now), order.lower().endswith("descending")
    raise invalid_argument(f"queryOrder must be one of {', '.join(_TIMES)}, followed by Ascending or Descending.")


def _time_of(name: str, now: datetime, run: RunRecord) -> datetime | None:
    return {"finishTime": run.finished, "queueTime": run.created, "startTime": run.started(now)}[name]


def _moment(call: Call, name: str) -> datetime | None:
    """Return a time in the query, or None. A time without an offset is UTC."""
    text = call.request.args.get(name)
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as exc:
        raise invalid_argument(f"{name} must be a time such as 2026-08-12T08:26:45Z.") from exc
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _encode_token(key: tuple[datetime, int]) -> str:
    return base64.urlsafe_b64encode(f"{key[0].isoformat()} {key[1]}".encode()).decode()


def _decode_token(token: str | None) -> tuple[datetime, int] | None:
    if token is None:
        return None
    try:
        moment, _, run_id = base64.urlsafe_b64decode(token).decode().partition(" ")
        return datetime.fromisoformat(moment), int(run_id)
    except (binascii.Error, ValueError) as exc:
        raise invalid_argument("The continuation token was not issued by this server.") from exc
