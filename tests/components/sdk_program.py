"""Load the project's components, jobs and deployments with the Azure ML SDK and print the result as JSON.

    .venv-aml/bin/python tests/components/sdk_program.py ENDPOINTS DEPLOYMENTS

Run it in the root folder of the project, with names of endpoints and of deployments to validate, separated by spaces.
One process loads all files, because the SDK takes seconds to import.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml
from azure.ai.ml import load_component, load_job, load_online_deployment
from azure.ai.ml._utils._asset_utils import get_ignore_file, get_upload_files_from_folder
from azure.ai.ml.entities import ManagedOnlineEndpoint
from azure.ai.ml.exceptions import ValidationException

COMPONENTS = ("components/trigger_pipeline/component.yml", "components/digits/component.yml")
JOBS = ("components/jobs/train.yml", "components/jobs/evaluate.yml", "components/jobs/train-and-trigger.yml")
WITH_COMPONENTS = Path("components/jobs/train-and-trigger.yml")


def component(file: str) -> dict[str, Any]:
    loaded = load_component(file)
    result = loaded._validate()
    return {
        "errors": result.error_messages,
        "is_deterministic": loaded.is_deterministic,
        "code": str((Path(file).parent / str(loaded.code)).resolve()),
        "inputs": {name: [each.type, bool(each.optional), each.default] for name, each in loaded.inputs.items()},
        "outputs": {name: each.type for name, each in loaded.outputs.items()},
    }


def job(file: str) -> dict[str, Any]:
    loaded = load_job(file)
    return {"type": loaded.type, "experiment": loaded.experiment_name, "errors": loaded._validate().error_messages}


def errors_of_broken_job() -> dict[str, str]:
    """Return the SDK's errors for the pipeline job without one of its required inputs."""
    document = yaml.safe_load(WITH_COMPONENTS.read_text(encoding="utf-8"))
    for step in document["jobs"].values():
        step["component"] = str((WITH_COMPONENTS.parent / step["component"]).resolve())
    del document["jobs"]["trigger"]["inputs"]["pipelineid"]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "job.yml"
        file.write_text(yaml.safe_dump(document), encoding="utf-8")
        errors: dict[str, str] = load_job(file)._validate().error_messages
    return errors


def snapshot() -> list[str]:
    """Return the files that are uploaded to Azure ML as the code of the trigger component."""
    files = get_upload_files_from_folder(".", ignore_file=get_ignore_file("."))
    return sorted(name for _, name in files)


def error_of_endpoint(name: str) -> str | None:
    try:
        ManagedOnlineEndpoint(name=name)._to_rest_online_endpoint("westeurope")
    except ValidationException as exc:
        return str(exc)
    return None


def error_of_deployment(name: str, endpoint: str) -> str | None:
    changes = [{"name": name}, {"endpoint_name": endpoint}, {"model": "azureml:digits:7"}]
    try:
        load_online_deployment("components/digits/deployment.yml", params_override=changes)._to_rest_object(
            "westeurope"
        )
    except ValidationException as exc:
        return str(exc)
    return None


if __name__ == "__main__":
    endpoints, deployments = (names.split() for names in sys.argv[1:])
    found = {
        "endpoints": {name: error_of_endpoint(name) for name in endpoints},
        "deployments": {name: error_of_deployment(name, endpoints[0]) for name in deployments},
        "components": {file: component(file) for file in COMPONENTS},
        "jobs": {file: job(file) for file in JOBS},
        "broken": errors_of_broken_job(),
        "snapshot": snapshot(),
    }
    json.dump(found, sys.stdout)
