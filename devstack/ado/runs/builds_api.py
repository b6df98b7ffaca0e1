"""The Build API's part: builds (the runs, seen from there) and their tags."""

from __future__ import annotations

from typing import TYPE_CHECKING

from devstack.ado.call import Call, collection, json_answer, json_body
from devstack.ado.errors import build_not_found, build_status_change_refused, invalid_argument
from devstack.ado.runs.answers import Answers
from devstack.ado.runs.build_filters import select_builds

if TYPE_CHECKING:
    from werkzeug.wrappers import Response

    from devstack.ado.books import RunRecord


def list_builds(call: Call) -> Response:
    runs, continuation = select_builds(call)
    answers = Answers(call.declaration, call.root)
    return collection([answers.build(run) for run in runs], continuation)


def get_build(call: Call, build_id: int) -> Response:
    return _answer(call, _build(call, build_id))


def update_build(call: Call, build_id: int) -> Response:
    """Cancels a build: ``{"status": "cancelling"}`` is the one change that the emulator makes."""
    _build(call, build_id)
    if call.json_object() != {"status": "cancelling"}:
        raise invalid_argument('The emulator takes only {"status": "cancelling"} as a change of a build.')
    run = _found(call.books.cancel(build_id), build_id)
    if run.state == "completed":
        raise build_status_change_refused(build_id, run.state)
    return _answer(call, run)


def get_tags(call: Call, build_id: int) -> Response:
    return collection(list(_build(call, build_id).tags))


def add_tags(call: Call, build_id: int) -> Response:
    return _change_tags(call, build_id, add=_tags(json_body(call.request)))


def change_tags(call: Call, build_id: int) -> Response:
    body = call.json_object()
    add, remove = _tags(body.get("tagsToAdd") or []), _tags(body.get("tagsToRemove") or [])
    return _change_tags(call, build_id, add, remove)


def add_tag(call: Call, build_id: int, tag: str) -> Response:
    return _change_tags(call, build_id, add=[tag])


def delete_tag(call: Call, build_id: int, tag: str) -> Response:
    return _change_tags(call, build_id, add=[], remove=[tag])


def _change_tags(call: Call, build_id: int, add: list[str], remove: list[str] | None = None) -> Response:
    run = call.books.change_tags(build_id, add, remove or [])
    return collection(list(_found(run, build_id).tags))


def _tags(value: object) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(tag, str) and tag.strip() for tag in value):
        raise invalid_argument("Tags must be a list of strings that are not empty.")
    return value


def _answer(call: Call, run: RunRecord) -> Response:
    return json_answer(Answers(call.declaration, call.root).build(run))


def _build(call: Call, build_id: int) -> RunRecord:
    return _found(call.books.run(build_id), build_id)


def _found(run: RunRecord | None, build_id: int) -> RunRecord:
    if run is None:
        raise build_not_found(build_id)
    return run
