"""Builders of events and routes for tests."""

import json
from collections.abc import Mapping
from typing import Any

from handlers import NAMES
from shared.events.event import AML_PREFIX
from shared.routing.routes_file import load_routes
from shared.routing.table import RouteTable
from tools.events.documents import Schema, in_schema

WORKSPACE = (
    "/subscriptions/0f0f0f0f-1111-2222-3333-444444444444/resourceGroups/rg"
    "/providers/Microsoft.MachineLearningServices/workspaces/ws"
)
ENVIRONMENT = {"AZURE_DEVOPS_ORG_URL": "https://dev.azure.com/contoso", "AZURE_DEVOPS_PROJECT": "mlops"}


def event_text(name: str, data: object, **envelope: Any) -> str:
    """Return an event in the Event Grid schema. ``envelope`` replaces or adds keys."""
    document = {
        "id": "event-1",
        "topic": WORKSPACE,
        "subject": "subject",
        "eventType": AML_PREFIX + name,
        "eventTime": "2026-11-20T10:00:00.1234567Z",
        "data": data,
        "dataVersion": "2",
        "metadataVersion": "1",
    }
    return json.dumps(document | envelope)


def cloud_event_text(name: str, data: Mapping[str, Any], **envelope: Any) -> str:
    """Return the same event in the schema of CloudEvents 1.0."""
    return json.dumps(in_schema(json.loads(event_text(name, data)), Schema.CLOUD) | envelope)


def run_completed(run_id: str = "run-1", **data: Any) -> str:
    """Return the RunCompleted event of a root run in the experiment ``train``."""
    return event_text("RunCompleted", {"experimentName": "train", "runId": run_id} | data)


def routes(*entries: str, environment: Mapping[str, str] = ENVIRONMENT) -> RouteTable:
    """Return a table of routes written in YAML. Each starts with its ``name:`` line, without indentation."""
    indented = ["  - " + entry.strip().replace("\n", "\n    ") for entry in entries]
    return load_routes(
        "version: 1\n"
        "defaults: {organization_url: '${AZURE_DEVOPS_ORG_URL}', project: '${AZURE_DEVOPS_PROJECT}', branch: main}\n"
        "routes:\n" + "\n".join(indented) + "\n",
        source="routes.yaml",
        names=NAMES,
        environment=environment,
    )


EVERY_KEY = """
name: everything
event: ModelRegistered
enabled: false
when: model_tags.stage == 'candidate'
organization_url: https://tfs.example/tfs/Collection/
project: other project
pipeline: \\ml\\deploy
pipeline_version: 3
branch: refs/tags/v1
parameters: { version: "{{ model_version }}", fixed: 5.10, flag: true }
variables: { MODEL: "{{ model_name }}" }
stages_to_skip: [build, test]
once_per: "{{ model_name }}"
allow: "[a-z]+"
correlation_parameter: nextstageKey
include_child_runs: true
cooldown: 1d2h3m4s
cooldown_key: "{{ model_name }}"
tags: false
causes: [ModelDeployed, { event: RunCompleted, with: { experiment_name: train, run_tags.size: 3 } }]
"""
"""A route that uses every key, except the one that excludes a cooldown."""

GATHERS = """
name: gathers
event: RunCompleted
pipeline: retrain
parameters: { run: "{{ run_id }}", count: "{{ gathered_count }}", since: "{{ gathered_since }}" }
gather: { quiet: 10m, at_most: 2h, by: "{{ experiment_name }}" }
"""
"""A route that queues one run for several events."""


def route(name: str, event: str, *lines: str, pipeline: str = "") -> str:
    """Return a route for ``routes``. By default it has its own pipeline."""
    return "\n".join([f"name: {name}", f"event: {event}", f"pipeline: {pipeline or name + '-pipeline'}", *lines])
