"""Runs that others have queued: people, schedules, commits, other tools."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from devstack.ado.access import User
from devstack.ado.errors import pipeline_not_found
from devstack.ado.runs.validation import validate_run

if TYPE_CHECKING:
    from collections.abc import Mapping

    from devstack.ado.runs.records import RunRecord
    from devstack.ado.state import State


def queue_foreign_run(state: State, order: Mapping[str, Any]) -> RunRecord:
    """Queue a run for another identity than that of a credential.

    :param order: a run request with the ID of the ``pipeline``, the ``reason``, the name of the ``requester``, and
        fields of the ``build`` that differ from what the emulator would show.
    :raises ApiError: 404 or 400, as for a run request.
    """
    pipeline = state.declaration.pipeline_by_id.get(order["pipeline"])
    if pipeline is None:
        raise pipeline_not_found(order["pipeline"])
    run = validate_run(order, pipeline, state.declaration, pipeline.revision)
    requester, reason = User.named(order.get("requester", "somebody")), order.get("reason", "manual")
    return state.books.queue(run, requester, state.behavior, reason=reason, build=order.get("build", {}))
