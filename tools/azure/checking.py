"""Checks before a deployment: the work of ``manage.py connect --check``. Nothing is made or changed.

What would fail after minutes of provisioning is found at once.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any, Final

from shared.clock import Clock
from tools.azure.answers import Answer, ResourceManagerError
from tools.azure.connecting import Pauses
from tools.azure.event_resources import ROLES, watched
from tools.azure.plan import Plan
from tools.azure.resource_manager import ResourceManager
from tools.azure.sources import SYSTEM_TOPIC, WORKSPACE, Resource
from tools.azure.topics import PROVIDERS, find_all
from tools.errors import CommandFailed

LOCATION: Final = "AZURE_LOCATION"
PYTHON: Final = "NEXTSTAGE_PYTHON_VERSION"
DEFAULT_PYTHON: Final = "3.13"

_STACKS: Final = "2020-10-01"
_OF_SUBNETS: Final = "Microsoft.App"
_FLEX: Final = "FC1"
"""The code of the SKU of Flex Consumption."""

_ROLE_AGE: Final = timedelta(minutes=2)
"""How old the roles of the app should be when its first package is uploaded. Source: Azure/azure-dev, issue 8026."""


def check(manager: ResourceManager, plan: Plan, location: str, python: str, say: Callable[[str], None]) -> None:
    """Check what the deployment needs.

    :param location: the region of the app; empty if it is not known yet, as before the first ``azd provision``.
    :param python: the version of Python that the app runs on.
    :raises CommandFailed: something is missing.
    """
    found = find_all(manager, plan)
    say(f"you are signed in, and may read {_words(plan)}")
    for resource, topic in found.topics.items():
        _check_rights(manager, resource, topic, say)
    if location:
        _check_region(manager, location, python, say)


def _check_rights(
    manager: ResourceManager, resource: Resource, topic: Answer | None, say: Callable[[str], None]
) -> None:
    """Say if the operator may not make the topic of a resource, or event subscriptions on it.

    It ends nothing: another person may connect, and rights may be activated only when they are needed. Source: Azure's
    REST API 2022-04-01, Permissions - List For Resource Group.
    """
    owner = Resource("", resource.subscription, resource.group) if topic is None else watched(topic.text("id"))
    kind = SYSTEM_TOPIC if topic is None else owner.type
    needed = [f"{kind}/eventSubscriptions/write", *([f"{kind}/write"] if topic is None else [])]
    try:
        permissions = manager.list(f"{owner.group_id}/providers/Microsoft.Authorization/permissions", ROLES)
        missing = [action for action in needed if not any(_allows(one, action) for one in permissions)]
    except (ResourceManagerError, LookupError, TypeError, AttributeError):
        return  # connect names what is missing
    if missing:
        say(
            f"you may not connect the {resource.words}, which needs the permission {' and '.join(missing)}; before the "
            f"app is deployed, ask for the role EventGrid Contributor on {owner.group_id}"
        )


def _allows(permission: Mapping[str, Any], action: str) -> bool:
    """Return whether a permission allows an action. Patterns may have a ``*`` anywhere, and case does not matter."""

    def is_in(patterns: Iterable[str] | None) -> bool:
        return any(fnmatchcase(action.lower(), pattern.lower()) for pattern in patterns or ())

    return is_in(permission["actions"]) and not is_in(permission.get("notActions"))


def _words(plan: Plan) -> str:
    """Return the names of the resources: ``the workspaces a, b and the storage account landing``."""
    names = ", ".join(workspace.name for workspace in plan.workspaces)
    workspaces = [f"the workspace{'s' * (len(plan.workspaces) > 1)} {names}"] if names else []
    others = [f"the {one.words}" for one in plan.resources if one.type != WORKSPACE]
    *first, last = [*workspaces, *others]
    return " and ".join([", ".join(first), last] if first else [last])


def _check_region(manager: ResourceManager, location: str, python: str, say: Callable[[str], None]) -> None:
    """Check that Flex Consumption has this version of Python in the region.

    Source: how Azure PowerShell's Get-AzFunctionAppFlexConsumptionRuntime asks.
    """
    path = f"/providers/Microsoft.Web/locations/{location}/functionAppStacks"
    query = {"stack": "python", "removeHiddenStacks": "true", "removeDeprecatedStacks": "true"}
    try:
        versions = set(_versions(manager.list(path, _STACKS, **query)))
    except (ResourceManagerError, LookupError, TypeError, AttributeError) as exc:
        say(f"which versions of Python the region {location} offers is not known: {exc}")
        return
    if not versions:
        raise CommandFailed(
            f"the region {location} does not offer Flex Consumption with Python; choose another one: "
            f"'azd env set {LOCATION} <region>'"
        )
    if python not in versions:
        raise CommandFailed(
            f"the region {location} offers Python {', '.join(sorted(versions))} on Flex Consumption, and not {python}; "
            f"run 'azd env set {PYTHON} <version>', or choose another region: 'azd env set {LOCATION} <region>'"
        )
    say(f"the region {location} offers Python {python} on Flex Consumption")


def _versions(stacks: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for stack in stacks:
        for major in stack["properties"]["majorVersions"]:
            for minor in major["minorVersions"]:
                settings = minor["stackSettings"].get("linuxRuntimeSettings") or {}
                for sku in settings.get("Sku") or settings.get("sku") or ():
                    if sku["skuCode"] == _FLEX:
                        yield str(sku["functionAppConfigProperties"]["runtime"]["version"])


def check_provider(manager: ResourceManager, subscription: str, say: Callable[[str], None]) -> None:
    """Check that the subscription has the resource provider that an app on Flex Consumption in a network needs.

    A deployment registers only the providers of its resources. Source: Azure Functions docs, Flex Consumption plan,
    considerations.

    :param subscription: empty if it is not known yet.
    :raises CommandFailed: it is not registered.
    """
    if not subscription:
        return
    try:
        found = manager.get(f"/subscriptions/{subscription}/providers/{_OF_SUBNETS}", PROVIDERS)
    except ResourceManagerError as exc:
        say(f"whether the resource provider {_OF_SUBNETS} is registered is not known: {exc}")
        return
    if found is None or found.get("registrationState") != "Registered":
        raise CommandFailed(
            f"the resource provider {_OF_SUBNETS}, which the profile private needs for the subnet of the app, is not "
            f"registered in the subscription {subscription}; register it in the portal, on the subscription's page "
            f"Resource providers, or run 'az provider register --namespace {_OF_SUBNETS} --wait'"
        )


def wait_for_roles(
    manager: ResourceManager, plan: Plan, say: Callable[[str], None], pauses: Pauses, clock: Clock
) -> None:
    """Wait until the roles of the app's identity are some minutes old, because it reads its package with them.

    Whether a role has arrived cannot be asked, so this is a matter of time.
    """
    if not plan.function_app or not plan.identity:
        return
    path = f"{plan.function_app.group_id}/providers/Microsoft.Authorization/roleAssignments"
    try:
        assigned = manager.list(path, ROLES, filter_=f"principalId eq '{plan.identity}'")
        made = max(datetime.fromisoformat(each.object("properties").text("createdOn")) for each in assigned)
    except (ResourceManagerError, TypeError, ValueError):
        return  # the resource group is gone, or the roles may not be read
    missing = min((made + _ROLE_AGE - clock()).total_seconds(), _ROLE_AGE.total_seconds())
    if missing > 0:
        say(f"the app's roles are new; waiting {missing:.0f} s before the first upload")
        pauses.pause(missing)
