"""The locations of resources, which the official clients request before their first call, and who the caller is.

``OPTIONS {organization}/_apis`` lists the route template of each resource with the resource's well-known ID.
``GET {organization}/_apis/resourceAreas`` lists the areas that have their own host.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from devstack.ado.call import Call, collection, json_answer
from devstack.ado.errors import version_is_preview

if TYPE_CHECKING:
    from werkzeug.wrappers import Response

_PIPELINE = "{project}/_apis/{area}/{pipelineId}/{resource}"
_BUILD_TAGS = "{project}/_apis/{area}/builds/{buildId}/{resource}/{*tag}"
_TIMELINE = "{project}/_apis/{area}/builds/{buildId}/{resource}/{timelineId}"
_PLAN = "{scopeIdentifier}/_apis/{area}/hubs/{hubName}/plans/{planId}"
_RECORDS = f"{_PLAN}/timelines/{{timelineId}}/records"
# id, area, resource, route, version of the resource
_LOCATIONS = (
    ("e81700f7-3be2-46de-8624-2eb35882fcaa", "Location", "ResourceAreas", "_apis/{resource}/{areaId}", 1),
    ("00d9565f-ed9c-4a06-9a50-00e7896ccab4", "Location", "ConnectionData", "_apis/{resource}", 1),
    ("28e1305e-2afe-47bf-abaf-cbb0e6a91988", "pipelines", "pipelines", "{project}/_apis/{resource}/{pipelineId}", 1),
    ("7859261e-d2e9-4a68-b820-a5d84cc5bb3d", "pipelines", "runs", f"{_PIPELINE}/{{runId}}", 1),
    ("53df2d18-29ea-46a9-bee0-933540f80abf", "pipelines", "preview", _PIPELINE, 1),
    ("0cd358e1-9217-4d94-8269-1c1ee6f93dcf", "build", "Builds", "{project}/_apis/{area}/{resource}/{buildId}", 7),
    ("8baac422-4c6e-4de5-8532-db96d92acffa", "build", "Timeline", _TIMELINE, 2),
    ("6e6114b2-8161-44c8-8f6c-c5505782427f", "build", "tags", _BUILD_TAGS, 3),
    ("557624af-b29e-4c20-8ab0-0399d2204f3f", "distributedtask", "events", f"{_PLAN}/{{resource}}", 1),
    ("46f5667d-263a-4684-91b1-dff7fdcf64e2", "distributedtask", "logs", f"{_PLAN}/{{resource}}/{{logId}}", 1),
    ("8893bc5b-35b2-4be7-83cb-99e683551db4", "distributedtask", "records", _RECORDS, 1),
    ("858983e4-19bd-4c5e-864c-507b59b58b12", "distributedtask", "feed", f"{_RECORDS}/{{recordId}}/{{resource}}", 1),
)


def list_locations(_call: Call) -> Response:
    return collection(
        [
            {
                "id": location_id,
                "area": area,
                "resourceName": resource,
                "routeTemplate": template,
                "resourceVersion": resource_version,
                "minVersion": "1.0",
                "maxVersion": "7.2",
                "releasedVersion": "7.1",
            }
            for location_id, area, resource, template, resource_version in _LOCATIONS
        ]
    )


def list_resource_areas(_call: Call) -> Response:
    """Return no areas, as an on-premises server does. Clients then use only the URL they are configured with.

    If a list had some areas but not the requested one, clients would send the credential to a fixed host on the
    internet.
    """
    return collection([])


def get_connection_data(call: Call) -> Response:
    """Return the identity that the request's credential belongs to. This resource has never left preview.

    Source: api-versions in public clients, all of which end in -preview.
    """
    version = call.requested_version()
    if version and "-preview" not in version:
        raise version_is_preview(version)
    identity = {
        "id": call.user.id,
        "descriptor": f"Microsoft.IdentityModel.Claims.ClaimsIdentity;{call.user.id}",
        "subjectDescriptor": f"aad.{call.user.id}",
        "providerDisplayName": call.user.name,
        "isActive": True,
        "properties": {},
        "resourceVersion": 2,
        "metaTypeId": 0,
    }
    return json_answer(
        {
            "authenticatedUser": identity,
            "authorizedUser": identity,
            "instanceId": call.declaration.organization_id,
            "deploymentId": call.declaration.organization_id,
            "deploymentType": "hosted",
            "locationServiceData": {"serviceOwner": call.declaration.organization_id},
        }
    )
