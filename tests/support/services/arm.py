"""A client of the stand-in for Azure Resource Manager, over a socket."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import requests

from devstack.arm import Behavior, Emulator, ids, sample, types
from devstack.arm.emulator import TOKEN
from devstack.http_server import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

SYSTEM_TOPIC = f"{sample.WORKSPACE.split('/providers/')[0]}/providers/Microsoft.EventGrid/systemTopics/nextstage-dev"
EVENTS = f"{SYSTEM_TOPIC}/eventSubscriptions/nextstage-dev"
CONTAINER = f"{sample.STORAGE}/blobServices/default/containers/{sample.CONTAINER}"
BLOB_CONTRIBUTOR = "ba92f5b4-2d11-453d-a403-e96b0029c9fe"


@dataclass
class Arm:
    """The stand-in with the sample's resources, and a client that sends a valid token and the newest api-version."""

    emulator: Emulator
    url: str

    def switch(self, **switches: Any) -> None:
        """Change switches of the behavior."""
        self.emulator.behavior = replace(self.emulator.behavior, **switches)

    def ask(
        self, method: str, path: str, body: object = None, *, version: str | None = "", token: str | None = TOKEN
    ) -> requests.Response:
        """Send a request.

        :param path: the path with its query, or a whole URL.
        :param version: None to send none; empty for the newest of the type.
        """
        url = path if path.startswith("http") else self.url + path
        query = {"api-version": version or newest(path)} if version is not None and "api-version=" not in url else {}
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return requests.request(method, url, params=query, json=body, headers=headers, timeout=10)

    def good(self, method: str, path: str, body: object = None, status: int = 200) -> Any:
        """Return the document of an answer, which must have this status."""
        answer = self.ask(method, path, body)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    def refused(self, status: int, code: str, method: str, path: str, body: object = None, **more: Any) -> str:
        """Return the message of an answer, which must be an error of Resource Manager's form."""
        answer = self.ask(method, path, body, **more)
        assert answer.status_code == status, answer.text
        error = answer.json()["error"]
        assert ({*answer.json()}, {*error}) == ({"error"}, {"code", "message"})
        assert error["code"] == code
        return str(error["message"])

    def finish(self, answer: requests.Response) -> dict[str, Any]:
        """Follow an operation by its status to its end, and return the status."""
        url = answer.headers["Azure-AsyncOperation"]
        while (status := self.good("GET", url))["status"] == "InProgress":
            pass
        return dict(status)

    def written(self, path: str, body: object) -> dict[str, Any]:
        """Put a resource, which must succeed, and return it."""
        answer = self.ask("PUT", path, body)
        assert answer.status_code in {200, 201}, answer.text
        if "Azure-AsyncOperation" in answer.headers:
            assert self.finish(answer)["status"] == "Succeeded"
        return dict(self.good("GET", path))


def newest(path: str) -> str:
    """Return the newest API version of the type of a path, by default that of an app."""
    address = ids.parse(path.partition("?")[0])
    return types.TYPES.get(address.kind if address else "", types.SITE).versions[-1]


@contextmanager
def serve_arm(*more: dict[str, Any], **switches: Any) -> Iterator[Arm]:
    """Serve the sample's resources and more."""
    emulator = Emulator([*sample.resources(), *more])
    emulator.behavior = Behavior(**{"retry_after_seconds": 0.01, **switches})
    with serving(emulator) as server:
        yield Arm(emulator, server.url)


def topic(**changes: Any) -> dict[str, Any]:
    """Return the body of the system topic of the sample's workspace."""
    properties = {"source": sample.WORKSPACE, "topicType": "Microsoft.MachineLearningServices.Workspaces"}
    return {
        "location": sample.LOCATION,
        "identity": {"type": "SystemAssigned"},
        "properties": properties,
        **changes,
    }


def subscription(**changes: Any) -> dict[str, Any]:
    """Return the body of an event subscription for the sample's app."""
    properties = {
        "destination": {
            "endpointType": "AzureFunction",
            "properties": {
                "resourceId": f"{sample.APP}/functions/aml_event",
                "maxEventsPerBatch": 1,
                "preferredBatchSizeInKilobytes": 64,
            },
        },
        "eventDeliverySchema": "EventGridSchema",
        "filter": {"includedEventTypes": ["Microsoft.MachineLearningServices.RunCompleted"]},
        "retryPolicy": {"eventTimeToLiveInMinutes": 1440, "maxDeliveryAttempts": 30},
        "deadLetterWithResourceIdentity": {
            "identity": {"type": "SystemAssigned"},
            "deadLetterDestination": {
                "endpointType": "StorageBlob",
                "properties": {"resourceId": sample.STORAGE, "blobContainerName": sample.CONTAINER},
            },
        },
        **changes,
    }
    return {"properties": properties}


def role(scope: str, name: str = "5a5a5a5a-1111-2222-3333-444444444444") -> str:
    """Return the ID of a role assignment."""
    return f"{scope}/providers/Microsoft.Authorization/roleAssignments/{name}"


def assignment(
    principal: str, definition: str = BLOB_CONTRIBUTOR, kind: str | None = "ServicePrincipal"
) -> dict[str, Any]:
    """Return the body of a role assignment."""
    definitions = f"/subscriptions/{sample.SUBSCRIPTION}/providers/Microsoft.Authorization/roleDefinitions"
    properties = {"principalId": principal, "roleDefinitionId": f"{definitions}/{definition}"}
    return {"properties": properties | ({"principalType": kind} if kind else {})}
