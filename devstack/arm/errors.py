"""The error answers of Azure Resource Manager: ``{"error": {"code", "message"}}``.

Source of the form: the resource provider contract (``Azure/azure-resource-manager-rpc``, common API details). Each
function names the source of its code and message where that is not the documentation of Azure's common errors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class ArmError(Exception):
    """An error answer: the HTTP status, a code, and a message."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.headers = dict(headers or {})

    @property
    def detail(self) -> dict[str, str]:
        """The error without its envelope, as the status of a failed operation has it."""
        return {"code": self.code, "message": self.message}

    @property
    def body(self) -> dict[str, object]:
        return {"error": self.detail}


def unauthorized(code: str, message: str, authority: str) -> ArmError:
    """Return the answer to a request without a valid token. The challenge names the authority of the tenant."""
    challenge = f'Bearer authorization_uri="{authority}", error="invalid_token"'
    return ArmError(401, code, message, {"WWW-Authenticate": challenge})


def invalid_request(message: str, status: int = 400) -> ArmError:
    """Return an error of Event Grid's own checks, which all have this code."""
    return ArmError(status, "InvalidRequest", message)


def missing_api_version() -> ArmError:
    """Source of the message: azure-sdk-for-go issue 22571."""
    message = "The api-version query parameter (?api-version=) is required for all requests."
    return ArmError(400, "MissingApiVersionParameter", message)


def unknown_api_version(version: str, resource_type: str, known: Iterable[str]) -> ArmError:
    """Source of the message: azure-cli issue 28496. It goes on with the supported locations, which are left out."""
    kind = resource_type.partition("/")[2]
    message = (
        f"No registered resource provider found for location 'westeurope' and API version '{version}' for type "
        f"'{kind}'. The supported api-versions are '{', '.join(known)}'."
    )
    return ArmError(400, "NoRegisteredProviderFound", message)


def unknown_type(resource_type: str, version: str) -> ArmError:
    namespace, _, kind = resource_type.partition("/")
    message = (
        f"The resource type '{kind}' could not be found in the namespace '{namespace}' for api version '{version}'."
    )
    return ArmError(404, "InvalidResourceType", message)


def invalid_content(reason: str) -> ArmError:
    message = f"The request content was invalid and could not be deserialized: '{reason}'."
    return ArmError(400, "InvalidRequestContent", message)


def method_not_allowed(method: str, path: str) -> ArmError:
    return ArmError(405, "MethodNotAllowed", f"The stand-in does not support {method} for '{path}'.")


def subscription_not_found(subscription: str) -> ArmError:
    return ArmError(404, "SubscriptionNotFound", f"The subscription '{subscription}' could not be found.")


def group_not_found(name: str) -> ArmError:
    """Source of the message: azure-powershell issue 14556."""
    return ArmError(404, "ResourceGroupNotFound", f"Resource group '{name}' could not be found.")


def resource_not_found(resource_type: str, names: str, group: str) -> ArmError:
    message = (
        f"The Resource '{resource_type}/{names}' under resource group '{group}' was not found. For more details please "
        "go to https://aka.ms/ARMResourceNotFoundFix"
    )
    return ArmError(404, "ResourceNotFound", message)


def parent_not_found(parent: str) -> ArmError:
    message = f"Can not perform requested operation on nested resource. Parent resource '{parent}' not found."
    return ArmError(404, "ParentResourceNotFound", message)


def location_required() -> ArmError:
    return ArmError(400, "LocationRequired", "The location property is required for this definition.")


def other_location(name: str, there: str, wanted: str) -> ArmError:
    message = (
        f"The resource '{name}' already exists in location '{there}'. A resource with the same name cannot be created "
        f"in location '{wanted}'. Please select a new resource name."
    )
    return ArmError(409, "InvalidResourceLocation", message)


def scope_locked(scope: str, operation: str, locked: Iterable[str]) -> ArmError:
    """Source of the message: terraform-provider-azurerm issue 17478."""
    scopes = ", ".join(f"'{one}'" for one in locked)
    message = (
        f"The scope '{scope}' cannot perform {operation} operation because following scope(s) are locked: {scopes}. "
        "Please remove the lock and try again."
    )
    return ArmError(409, "ScopeLocked", message)


def in_transition(name: str, state: str) -> ArmError:
    """Return the refusal of a change to a resource whose last change has not ended.

    Source of the status: azure-docs issue 7415. The message is the stand-in's.
    """
    return ArmError(409, "Conflict", f"The resource '{name}' cannot be changed now: its provisioning state is {state}.")
