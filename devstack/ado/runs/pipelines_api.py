"""The Pipelines API: pipelines, runs and previews."""

from __future__ import annotations

import logging
import re
import uuid
from typing import TYPE_CHECKING, Any

from devstack.ado.call import Call, collection, json_answer
from devstack.ado.errors import invalid_argument, pipeline_not_found, queue_permission_missing, run_not_found
from devstack.ado.runs.answers import Answers
from devstack.ado.runs.validation import final_yaml, validate_run

if TYPE_CHECKING:
    from collections.abc import Mapping

    from werkzeug.wrappers import Response

    from devstack.ado.declaration import PipelineDeclaration
    from devstack.ado.runs.records import ValidatedRun

logger = logging.getLogger("devstack.ado")


def list_pipelines(call: Call) -> Response:
    """List ``$top`` pipelines from ``continuationToken``, sorted by name. ``orderBy`` is not supported."""
    if "orderBy" in call.request.args:
        raise invalid_argument("The emulator does not support orderBy.")
    token = call.request.args.get("continuationToken", "0")
    if not re.fullmatch(r"\d{1,9}", token):
        raise invalid_argument("The continuation token was not issued by this server.")
    pipelines = sorted(call.declaration.pipelines, key=lambda pipeline: pipeline.name.lower())
    start, top = int(token), call.integer("$top", least=1) or len(pipelines)
    page = pipelines[start : start + top]
    more = start + len(page) < len(pipelines) and bool(page)
    answers = Answers(call.declaration, call.root)
    return collection([answers.pipeline_summary(each) for each in page], str(start + len(page)) if more else None)


def get_pipeline(call: Call, pipeline_id: int) -> Response:
    return json_answer(Answers(call.declaration, call.root).pipeline(_pipeline(call, pipeline_id)))


def run_pipeline(call: Call, pipeline_id: int) -> Response:
    """Queue a run, or return its preview if ``previewRun`` is set."""
    pipeline, body = _pipeline(call, pipeline_id), call.body("run_request")
    if body.get("previewRun"):
        return _preview(call, pipeline, body)
    if not pipeline.may_queue:
        raise queue_permission_missing(pipeline.id, pipeline.name, call.declaration.project)
    validated, orchestration_id = _validated(call, pipeline, body), _orchestration_id(call)
    run = call.books.queue(validated, call.user, call.behavior, orchestration_id=orchestration_id)
    return json_answer(Answers(call.declaration, call.root).run(run))


def _orchestration_id(call: Call) -> str | None:
    """Return the request's end-to-end ID if it is a GUID and the service honors it."""
    if call.behavior.idempotency == "ignored":
        return None
    try:
        return str(uuid.UUID(call.request.headers.get("X-VSS-E2EID", "")))
    except ValueError:
        return None


def preview_pipeline(call: Call, pipeline_id: int) -> Response:
    """Return a preview. As in Azure DevOps, it does not need the permission to queue the pipeline."""
    return _preview(call, _pipeline(call, pipeline_id, unknown_status=500), call.body("run_request"))


def _preview(call: Call, pipeline: PipelineDeclaration, body: Mapping[str, Any]) -> Response:
    run = _validated(call, pipeline, body)
    return json_answer({"finalYaml": final_yaml(run, pipeline)})


def get_run(call: Call, pipeline_id: int, run_id: int) -> Response:
    pipeline = _pipeline(call, pipeline_id)
    run = call.books.run(run_id)
    if run is None or run.pipeline_id != pipeline.id:
        raise run_not_found(run_id)
    return json_answer(Answers(call.declaration, call.root).run(run))


def _validated(call: Call, pipeline: PipelineDeclaration, body: Mapping[str, Any]) -> ValidatedRun:
    revision = call.integer("pipelineVersion", least=1) or pipeline.revision
    return validate_run(body, pipeline, call.declaration, revision)


def _pipeline(call: Call, pipeline_id: int, unknown_status: int = 404) -> PipelineDeclaration:
    """Return the requested pipeline, and check the requested ``pipelineVersion`` if there is one."""
    pipeline = call.declaration.pipeline_by_id.get(pipeline_id)
    if pipeline is None:
        known = ", ".join(f"{each.id} {each.name}" for each in call.declaration.pipelines)
        logger.warning(
            "devstack.ado: there is no pipeline %d, only %s; declare its ID and name in the "
            "file that --pipelines names, by default devstack/ado/pipelines.yaml",
            pipeline_id,
            known,
        )
        raise pipeline_not_found(pipeline_id, status=unknown_status)
    version = call.integer("pipelineVersion", least=1)
    if version is not None and version > pipeline.revision:
        raise pipeline_not_found(pipeline_id, version, unknown_status)
    return pipeline
