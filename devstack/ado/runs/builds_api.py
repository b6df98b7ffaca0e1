"""The Build API: builds, which are the same as runs, and their tags."""

from __future__ import annotations

from typing import TYPE_CHECKING

from devstack.ado.call import Call, collection, json_answer, json_body
from devstack.ado.errors import build_not_found, build_status_change_refused, invalid_argument
from devstack.ado.runs.answers import Answers
from devstack.ado.runs.build_filters import select_builds

if TYPE_CHECKING:
    from werkzeug.wrappers import Response

    from devstack.ado.runs.records import RunRecord


def list_builds(call: Call) -> Response:
    now = call.books.clock()
    runs, continuation = select_builds(call, now)
    answers = Answers(call.declaration, call.root)
    return collection([answers.build(run, now) for run in runs], continuation)


def get_build(call: Call, build_id: int) -> Response:
    return _answer(call, _build(call, build_id))


def update_build(call: Call, build_id: int) -> Response:
    """Cancel a build. The emulator supports no other change than ``{"status": "cancelling"}``."""
    _build(call, build_id)
    if call.json_object() != {"status": "cancelling"}:
        raise invalid_argument('The emulator supports only the change {"status": "cancelling"} to a build.')
    run = _found(call.books.cancel(build_id), build_id)
    if run.state == "completed":
        raise build_status_change_refused(build_id, run.state)
    return _answer(call, run)


def get_timeline(call: Call, build_id: int) -> Response:
    return json_answer(Answers(call.declaration, call.root).timeline(_build(call, build_id)))


def get_tags(call: Call, build_id: int) -> Response:
    return collection(list(_build(call, build_id).tags))


def add_tags(call: Call, build_id: int) -> Response:
    tags = json_body(call.request)
    if not isinstance(tags, list) or not all(isinstance(tag, str) and tag.strip() for tag in tags):
        raise invalid_argument("Tags must be a list of non-empty strings.")
    return collection(list(_found(call.books.add_tags(build_id, tags), build_id).tags))


def _answer(call: Call, run: RunRecord) -> Response:
    return json_answer(Answers(call.declaration, call.root).build(run, call.books.clock()))


def _build(call: Call, build_id: int) -> RunRecord:
    return _found(call.books.run(build_id), build_id)


def _found(run: RunRecord | None, build_id: int) -> RunRecord:
    if run is None:
        raise build_not_found(build_id)
    return run
