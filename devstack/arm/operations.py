"""Long-running operations: how they begin, how they are followed, and how they end.

Sources: Microsoft Learn, "Track asynchronous Azure operations", and the recordings in Azure/azure-sdk-for-js for Event
Grid: a PUT is answered with 201 and ``Azure-AsyncOperation``, a DELETE with 202, ``Location`` and
``Azure-AsyncOperation``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from werkzeug.wrappers import Response

from devstack.arm import event_grid, ids, types
from devstack.arm.answers import json_answer
from devstack.arm.errors import ArmError
from devstack.arm.store import Operation

if TYPE_CHECKING:
    from werkzeug.wrappers import Request

    from devstack.arm.store import Document, Store

PATH = re.compile(
    r"/subscriptions/[^/]+/(?:providers/Microsoft\.EventGrid/locations/[^/]+/)?"
    r"(?P<kind>operationsStatus|operationResults)/(?P<id>[^/]+)",
    re.IGNORECASE,
)


def begin(store: Store, request: Request, address: ids.Address, document: Document | None) -> dict[str, str]:
    """Begin to write or delete a resource, and return the headers with which it is followed.

    :param document: None to delete it.
    """
    operation = Operation(address.text, document, store.behavior.polls, store.behavior.failure)
    store.operations[operation.id] = operation
    resource = store.get(address.text) or {}
    if address.kind == types.GROUP.key:
        root = f"{request.host_url}subscriptions/{address.subscription}"
    else:
        parent = store.get(address.parent) or {}
        location = resource.get("location") or parent.get("location", "westeurope")
        provider = f"providers/Microsoft.EventGrid/locations/{location}"
        root = f"{request.host_url}subscriptions/{address.subscription}/{provider}"
    version = request.args["api-version"]
    return {
        "Azure-AsyncOperation": f"{root}/operationsStatus/{operation.id}?api-version={version}",
        "Location": f"{root}/operationResults/{operation.id}?api-version={version}",
        "Retry-After": f"{store.behavior.retry_after_seconds:g}",
    }


def poll(store: Store, request: Request) -> Response:
    """Return the answer to a GET of a status or of a result.

    :raises ArmError: 404, there is no such operation.
    """
    match = PATH.fullmatch(request.path)
    operation_id = match["id"] if match else ""
    operation = store.operations.get(operation_id)
    if operation is None or request.method != "GET":
        raise ArmError(404, "NotFound", f"The operation {operation_id} was not found.")
    look(store, operation)
    headers = {"Retry-After": f"{store.behavior.retry_after_seconds:g}"}
    if match and match["kind"].lower() == "operationsstatus":
        status: dict[str, object] = {"id": request.url, "name": operation.id, "status": operation.status}
        if operation.error:
            status["error"] = dict(operation.error)
        return json_answer(status, headers=headers if operation.status == "InProgress" else None)
    if operation.status == "InProgress":
        return Response(status=202, headers={**headers, "Location": request.url})
    if operation.error:
        return json_answer({"error": dict(operation.error)}, 400)
    return Response(status=204) if operation.document is None else json_answer(store.get(operation.resource))


def look(store: Store, operation: Operation) -> None:
    """Count a request that looks at an operation, and end the operation at the last one."""
    if operation.status != "InProgress":
        return
    operation.looks -= 1
    if operation.looks > 0:
        return
    address = ids.parsed(operation.resource)
    operation.error = operation.failure
    if operation.document is None and not operation.error:
        store.delete(operation.resource)
    document = store.get(operation.resource)
    if document is not None:
        if not operation.error and address.kind.endswith("/eventsubscriptions"):
            error = event_grid.finish_subscription(store, document)
            operation.error = error.detail if error else None
        document["properties"]["provisioningState"] = "Failed" if operation.error else "Succeeded"
        store.save(address, document)
    operation.status = "Failed" if operation.error else "Succeeded"
