"""New data lands: many blobs within a second, for which the app queues one retraining."""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import yaml

from devstack.demo.event_grid import Delivery
from devstack.events import sample_text

ROUTE: Final = "retrain-on-new-data"
BLOBS: Final = 40
REPEATED: Final = 8
_CONTAINER: Final = "line-1"
_QUIET: Final = "5s"
"""The route waits for 10 minutes. The app is killed meanwhile."""


def with_new_data(table: str) -> str:
    """Return a dispatch table with the route for new data switched on, which is not quiet for long."""
    document = yaml.compose(table)
    for route in _entries(document)["routes"].value:
        entries = _entries(route)
        if entries["name"].value == ROUTE:
            _entries(entries["gather"])["quiet"].value = _QUIET
            if "enabled" in entries:
                entries["enabled"].value = "true"
    return str(yaml.serialize(document, allow_unicode=True))


def blobs() -> list[Delivery]:
    """Return the events of new blobs in several folders. Some are delivered twice, at the same time."""
    return [_blob(number) for number in range(BLOBS)]


def files_per_run(runs: Iterable[Mapping[str, Any]]) -> list[int]:
    """Return for how many of these blobs each run was queued.

    :param runs: ``runs`` of the emulator's books.
    """
    parameters = [run["templateParameters"] for run in runs]
    return [int(one["newFiles"]) for one in parameters if one.get("newData", "").startswith(f"{_CONTAINER}/")]


def _blob(number: int) -> Delivery:
    path = f"landing/camera {number % 4}/part-{number:05}.parquet"
    event = json.loads(sample_text("blob-created"))
    event["id"] = f"blob-{number}"
    event["subject"] = f"/blobServices/default/containers/{_CONTAINER}/blobs/{path}"
    event["eventTime"] = (datetime(2026, 11, 20, 10, tzinfo=UTC) + timedelta(seconds=number / BLOBS)).isoformat()
    event["data"]["eTag"] = f"0x8DF{number:012X}"
    event["data"]["url"] = f"https://samplestorage.blob.core.windows.net/{_CONTAINER}/{path.replace(' ', '%20')}"
    is_repeated = number < REPEATED
    return Delivery("blob-created", copies=1 + is_repeated, at_once=is_repeated, changed=json.dumps(event))


def _entries(node: yaml.Node | None) -> dict[str, yaml.Node]:
    return {} if node is None else {key.value: value for key, value in node.value}
