"""The JSON documents of the Pipelines and Build APIs, created from the books and the declaration.

``root`` is the organization's URL, as the client knows it. In URLs below it, the service always uses the project's
GUID, even if the request used its name.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from devstack.ado.runs.behavior import shown_parameters
from devstack.ado.runs.records import ONLY_STAGE
from devstack.ado.times import timestamp

if TYPE_CHECKING:
    from datetime import datetime

    from devstack.ado.access import User
    from devstack.ado.declaration import Declaration, PipelineDeclaration
    from devstack.ado.runs.records import RunRecord

_BUILD_STATUS = {"inProgress": "inProgress", "canceling": "cancelling", "completed": "completed"}

_QUEUE = {"id": 18, "name": "Azure Pipelines", "pool": {"id": 9, "name": "Azure Pipelines", "isHosted": True}}


def _identity(user: User) -> dict[str, object]:
    unique_name = f"{user.name.replace(' ', '.')}@example.com"
    return {"displayName": user.name, "id": user.id, "uniqueName": unique_name, "descriptor": f"aad.{user.id}"}


def _links(**addresses: str) -> dict[str, dict[str, str]]:
    return {name: {"href": address} for name, address in addresses.items()}


@dataclass(frozen=True)
class Answers:
    """Creates the documents, with URLs as one client knows them."""

    declaration: Declaration
    root: str

    @property
    def _project_url(self) -> str:
        return f"{self.root}/{self.declaration.project_id}"

    @property
    def _repository_id(self) -> str:
        return str(uuid.uuid5(uuid.UUID(self.declaration.project_id), "repository"))

    def _pipeline_url(self, pipeline: PipelineDeclaration, revision: int) -> str:
        return f"{self._project_url}/_apis/pipelines/{pipeline.id}?revision={revision}"

    def _pipeline_web_url(self, pipeline: PipelineDeclaration) -> str:
        return f"{self._project_url}/_build/definition?definitionId={pipeline.id}"

    def pipeline_summary(self, pipeline: PipelineDeclaration) -> dict[str, object]:
        """Return a pipeline as lists show it, without its configuration."""
        url = self._pipeline_url(pipeline, pipeline.revision)
        links = _links(self=url, web=self._pipeline_web_url(pipeline))
        return {"_links": links, **self._pipeline_reference(pipeline, pipeline.revision)}

    def _pipeline_reference(self, pipeline: PipelineDeclaration, revision: int) -> dict[str, object]:
        return {
            "url": self._pipeline_url(pipeline, revision),
            "id": pipeline.id,
            "revision": revision,
            "name": pipeline.name,
            "folder": pipeline.folder,
        }

    def pipeline(self, pipeline: PipelineDeclaration) -> dict[str, object]:
        configuration = {
            "path": f"/{pipeline.name}.yml",
            "repository": {"id": self._repository_id, "type": "azureReposGit"},
            "type": "yaml",
        }
        return {**self.pipeline_summary(pipeline), "configuration": configuration}

    def _run_core(self, run: RunRecord) -> dict[str, object]:
        """Return the identity and state of a run, without its parameters and resources."""
        pipeline = self.declaration.pipeline_by_id[run.pipeline_id]
        url = f"{self._project_url}/_apis/pipelines/{pipeline.id}/runs/{run.id}"
        links = _links(self=url, web=f"{self._project_url}/_build/results?buildId={run.id}")
        pipeline_url = self._pipeline_url(pipeline, run.revision)
        links |= _links(**{"pipeline.web": self._pipeline_web_url(pipeline), "pipeline": pipeline_url})
        summary: dict[str, object] = {
            "_links": links,
            "pipeline": self._pipeline_reference(pipeline, run.revision),
            "state": run.state,
            "createdDate": timestamp(run.created),
            "url": url,
            "id": run.id,
            "name": run.name,
        }
        if run.finished is not None:
            summary["result"] = run.result
            summary["finishedDate"] = timestamp(run.finished)
        return summary

    def run(self, run: RunRecord) -> dict[str, object]:
        repository = {
            "repository": {
                "id": self._repository_id,
                "fullName": f"{self.declaration.project}/{self.declaration.project}",
                "type": "azureReposGit",
            },
            "refName": run.branch,
            "version": run.version,
        }
        document = self._run_core(run) | {
            "yamlDetails": {
                "rootYamlFile": {"ref": run.branch, "yamlFile": f"{run.pipeline_name}.yml", "repoAlias": "self"},
                "expandedYamlUrl": f"{self._project_url}/_apis/build/builds/{run.id}/logs/1",
            },
            "resources": {"repositories": {"self": repository}},
            "templateParameters": dict(run.template_parameters),
            "tags": list(run.tags),
        }
        if run.variables:
            document["variables"] = {name: variable.document() for name, variable in run.variables.items()}
        return document

    def build(self, run: RunRecord, now: datetime) -> dict[str, object]:
        """Return a run as the Build API shows it. Unlike in the Pipelines API, it may not have started."""
        pipeline = self.declaration.pipeline_by_id[run.pipeline_id]
        url = f"{self._project_url}/_apis/build/Builds/{run.id}"
        document: dict[str, object] = {
            "_links": _links(
                self=url,
                web=f"{self._project_url}/_build/results?buildId={run.id}",
                timeline=f"{url}/Timeline",
            ),
            "id": run.id,
            "buildNumber": run.name,
            "buildNumberRevision": int(run.name.rpartition(".")[2]),
            "uri": f"vstfs:///Build/Build/{run.id}",
            "url": url,
            "definition": self._definition(pipeline, run.revision),
            "project": self._project(),
            "sourceBranch": run.branch,
            "sourceVersion": run.version,
            "templateParameters": shown_parameters(run.template_parameters, run.parameter_form),
            "triggerInfo": {},
            "tags": list(run.tags),
            "repository": {
                "id": self._repository_id,
                "type": "TfsGit",
                "name": self.declaration.project,
                "url": f"{self.root}/{self.declaration.project}/_git/{self.declaration.project}",
                "checkoutSubmodules": False,
            },
        }
        return {**document, **self._build_circumstances(run, now), **run.build}

    @staticmethod
    def _build_circumstances(run: RunRecord, now: datetime) -> dict[str, object]:
        """Return status, times, users and reason of a build, and the result and the variables if there are any."""
        started, requester, plan = run.started(now), _identity(run.requester), {"planId": run.plan_id}
        document: dict[str, object] = {
            "status": "notStarted" if run.state == "inProgress" and started is None else _BUILD_STATUS[run.state],
            "queueTime": timestamp(run.created),
            "lastChangedDate": timestamp(run.finished or started or run.created),
            "priority": "normal",
            "reason": run.reason,
            "requestedFor": requester,
            "requestedBy": requester,
            "lastChangedBy": requester,
            "retainedByRelease": False,
            "queue": _QUEUE,
            "orchestrationPlan": plan,
            "plans": [plan],
        }
        if started is not None:
            document["startTime"] = timestamp(started)
        if run.finished is not None:
            document["result"] = run.result
            document["finishTime"] = timestamp(run.finished)
        visible = {name: variable.value for name, variable in run.variables.items() if not variable.is_secret}
        if visible:
            document["parameters"] = json.dumps(visible)
        return document

    def timeline(self, run: RunRecord) -> dict[str, object]:
        """Return the timeline of a build, with a record for each stage.

        If the declaration has no stages, only those that are skipped are known.
        """
        names = self.declaration.pipeline_by_id[run.pipeline_id].stages or run.stages_to_skip or (ONLY_STAGE,)
        changed = timestamp(run.finished or run.created)
        return {
            "records": [self._stage(run, name, order) for order, name in enumerate(names, 1)],
            "lastChangedBy": run.requester.id,
            "lastChangedOn": changed,
            "id": run.plan_id,
            "changeId": len(names),
            "url": f"{self._project_url}/_apis/build/builds/{run.id}/Timeline/{run.plan_id}",
        }

    @staticmethod
    def _stage(run: RunRecord, name: str, order: int) -> dict[str, object]:
        result = "skipped" if name in run.stages_to_skip else run.result
        return {
            "id": str(uuid.uuid5(uuid.UUID(run.plan_id), name)),
            "parentId": None,
            "type": "Stage",
            "name": name,
            "identifier": name,
            "refName": name,
            "order": order,
            "attempt": 1,
            "state": "completed" if result else "pending",
            "result": result,
        }

    def _project(self) -> dict[str, object]:
        return {
            "id": self.declaration.project_id,
            "name": self.declaration.project,
            "url": f"{self.root}/_apis/projects/{self.declaration.project_id}",
            "state": "wellFormed",
            "revision": 1,
            "visibility": "private",
        }

    def _definition(self, pipeline: PipelineDeclaration, revision: int) -> dict[str, object]:
        return {
            "id": pipeline.id,
            "name": pipeline.name,
            "path": pipeline.folder,
            "revision": revision,
            "type": "build",
            "queueStatus": pipeline.queue_status,
            "uri": f"vstfs:///Build/Definition/{pipeline.id}",
            "url": f"{self._project_url}/_apis/build/Definitions/{pipeline.id}?revision={revision}",
            "project": self._project(),
        }
