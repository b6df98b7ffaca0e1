"""The checks of a run request, in the same order as in Azure DevOps.

``validate_run`` checks a request against the pipeline's declaration, and raises ``ApiError`` with status 400.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

import yaml

from devstack.ado.errors import definition_disabled, invalid_pipeline_request
from devstack.ado.runs.records import ONLY_STAGE, ValidatedRun, Variable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from devstack.ado.declaration import Declaration, PipelineDeclaration


def _self_repository(resources: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return ``resources.repositories.self``. The emulated pipelines do not declare other resources."""
    named = [(kind, alias) for kind, aliases in resources.items() for alias in aliases or ()]
    others = [f"{kind}.{alias}" for kind, alias in named if (kind, alias) != ("repositories", "self")]
    if others:
        raise invalid_pipeline_request(f"The pipeline has no resource {', '.join(others)}.")
    return (resources.get("repositories") or {}).get("self") or {}


def _variable(document: Mapping[str, Any]) -> Variable:
    is_secret = document.get("isSecret") or False
    return Variable(None if is_secret else document.get("value") or "", is_secret)


def validate_run(
    body: Mapping[str, Any], pipeline: PipelineDeclaration, declaration: Declaration, revision: int
) -> ValidatedRun:
    """Check a request whose body matches the schema. Add the defaults and resolve the branch to a commit.

    A pipeline whose declaration has no stages may skip any.

    :raises ApiError: 400, or 500 if the pipeline is disabled; the run cannot be queued.
    """
    repository = _self_repository(body.get("resources") or {})
    variables = {name: _variable(value) for name, value in (body.get("variables") or {}).items()}
    parameters, stages = body.get("templateParameters") or {}, tuple(body.get("stagesToSkip") or ())
    if pipeline.queue_status == "disabled":
        raise definition_disabled(pipeline.name, declaration.project)
    if pipeline.invalid:
        raise invalid_pipeline_request(pipeline.invalid)
    _check_settable(variables, pipeline)
    branch = repository.get("refName") or declaration.default_branch_ref
    if branch not in declaration.branch_refs:
        raise invalid_pipeline_request(
            f"The latest version of {branch} could not be found in repository {declaration.project}. "
            "Check that the branch exists and is written as a full ref (refs/heads/…)."
        )
    _check_parameters(parameters, pipeline)
    unknown = [stage for stage in stages if pipeline.stages and stage not in pipeline.stages]
    if unknown:
        raise invalid_pipeline_request(f"Stages to skip that the pipeline does not have: {', '.join(unknown)}.")
    return ValidatedRun(
        pipeline_id=pipeline.id,
        pipeline_name=pipeline.name,
        revision=revision,
        is_paused=pipeline.queue_status == "paused",
        branch=branch,
        version=_commit(repository.get("version"), branch),
        template_parameters={**pipeline.defaults, **parameters},
        variables=variables,
        stages_to_skip=stages,
    )


def _check_settable(variables: Mapping[str, Variable], pipeline: PipelineDeclaration) -> None:
    refused = [name for name in variables if name.lower() not in pipeline.settable_variables]
    if refused:
        raise invalid_pipeline_request(
            f"You can't set the following variables ({', '.join(refused)}). Declare them as settable at queue time "
            "in the pipeline to allow it."
        )


def _check_parameters(given: Mapping[str, str], pipeline: PipelineDeclaration) -> None:
    """Check the template parameters. As in Azure DevOps, the error lists all problems, one per line.

    Only problems of values name the file.
    """
    problems = [f"Unexpected parameter '{name}'" for name in given if name not in pipeline.parameter_by_name]
    for parameter in pipeline.parameters:
        if parameter.name in given:
            refusal = parameter.refusal(given[parameter.name])
            problems += [f"/{pipeline.name}.yml: {refusal}"] if refusal else []
        elif parameter.default is None:
            problems.append(f"A value for the '{parameter.name}' parameter must be provided.")
    if problems:
        raise invalid_pipeline_request("\n".join(problems))


def _commit(version: str | None, branch: str) -> str:
    """Return the requested commit or, if there is only a branch, an ID derived from the branch's name."""
    if not version:
        return hashlib.sha1(branch.encode(), usedforsecurity=False).hexdigest()
    if not re.fullmatch(r"[0-9a-f]{40}", version):
        raise invalid_pipeline_request(f"Commit {version} could not be found on {branch}.")
    return version


def final_yaml(run: ValidatedRun, pipeline: PipelineDeclaration) -> str:
    """Return the YAML of a preview, which is the pipeline with the values of its parameters.

    It is the same whether a parameter is left out or has its default value, in any spelling.
    """
    values = run.template_parameters
    steps = [{"script": f"echo {each.name}={each.expanded(values[each.name])}"} for each in pipeline.parameters]
    stages = [
        {"stage": stage, "jobs": [{"job": stage, "steps": steps}]} for stage in (pipeline.stages or (ONLY_STAGE,))
    ]
    return yaml.safe_dump({"name": pipeline.name, "trigger": "none", "stages": stages}, sort_keys=False)
