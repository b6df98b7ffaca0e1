"""What is to be connected: an installation of the app, and the workspaces whose events it receives. No I/O.

The values come from azd's environment, or from options of the same meaning.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

from shared.events.runs import STATUSES, final_status, spellings
from tools.azure.sources import SOURCES, UNKNOWN, WORKSPACE, Resource, Source, read_sources, resource_of
from tools.errors import CommandFailed

WORKSPACE_VARIABLES: Final = ("AML_WORKSPACE_ID", "AML_WORKSPACE_IDS")
"""Both are read, and either may name several workspaces."""

NAME: Final = "AZURE_ENV_NAME"
SUBSCRIPTION: Final = "AZURE_SUBSCRIPTION_ID"
FUNCTION_APP: Final = "NEXTSTAGE_FUNCTION_APP_ID"
STORAGE_ACCOUNT: Final = "NEXTSTAGE_STORAGE_ACCOUNT_ID"
CONTAINER: Final = "NEXTSTAGE_DEAD_LETTER_CONTAINER"
IDENTITY: Final = "NEXTSTAGE_IDENTITY_PRINCIPAL_ID"
ACTION_GROUP: Final = "NEXTSTAGE_ACTION_GROUP_ID"
LOG_WORKSPACE: Final = "NEXTSTAGE_DELIVERY_LOG_WORKSPACE_ID"
WAITS: Final = "NEXTSTAGE_WAITS"
RUN_STATUSES: Final = "NEXTSTAGE_RUN_STATUSES"

_WORKSPACE_FORM: Final = f"/subscriptions/<id>/resourceGroups/<group>/providers/{WORKSPACE}/<name>"

LENGTH: Final = 30
"""How much of an environment's name is in the names of what is made: Event Grid allows 50 characters for a topic."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The values of one installation. All but what is to be connected may be missing; ``require`` says for which task.

    :param workspaces: of which the app receives all event types that it knows.
    :param sources: what it receives of other resources, or in addition of a workspace.
    :param name: the name of azd's environment.
    :param subscription: the subscription of the app.
    :param identity: the object ID of the app's managed identity.
    :param log_workspace: the ID of the Log Analytics workspace that gets the deliveries that fail; empty for no log.
    :param run_statuses: only RunStatusChanged events with these statuses are delivered; all if empty.
    """

    workspaces: tuple[Resource, ...] = ()
    sources: tuple[Source, ...] = ()
    name: str = ""
    subscription: str = ""
    function_app: Resource = UNKNOWN
    storage_account: Resource = UNKNOWN
    container: str = ""
    identity: str = ""
    action_group: str = ""
    log_workspace: str = ""
    waits: bool = False
    run_statuses: tuple[str, ...] = ()

    @classmethod
    def of(cls, values: Mapping[str, str]) -> Self:
        """Read the values of an environment.

        :raises CommandFailed: one has the wrong form, or neither a workspace nor a source is named.
        """
        given = {name: value.strip() for name, value in values.items()}
        app = _resource(given, FUNCTION_APP)
        sources = read_sources(given.get(SOURCES, ""))
        return cls(
            workspaces=_workspaces(given, is_needed=not sources),
            sources=sources,
            name=given.get(NAME, ""),
            subscription=given.get(SUBSCRIPTION, "") or app.subscription,
            function_app=app,
            storage_account=_resource(given, STORAGE_ACCOUNT),
            container=given.get(CONTAINER, ""),
            identity=given.get(IDENTITY, ""),
            action_group=given.get(ACTION_GROUP, ""),
            log_workspace=given.get(LOG_WORKSPACE, ""),
            waits=_flag(given, WAITS),
            run_statuses=_statuses(given),
        )

    def require(self, **values: object) -> None:
        """Check that values are set, each given by the name of its variable.

        :raises CommandFailed: names the first that is not.
        """
        for name, value in values.items():
            if not value:
                raise CommandFailed(f"{name} is not set; run 'azd provision' first, or see the options in --help")

    @property
    def resources(self) -> tuple[Resource, ...]:
        """The resources whose events the app receives: the workspaces, then those of the sources; each once."""
        found: dict[str, Resource] = {}
        for resource in (*self.workspaces, *(source.resource for source in self.sources)):
            found.setdefault(resource.id.lower(), resource)
        return tuple(found.values())

    def sources_of(self, resource: Resource) -> list[Source]:
        """Return the sources that are this resource."""
        return [one for one in self.sources if one.resource.id.lower() == resource.id.lower()]

    @property
    def prefix(self) -> str:
        """The name of our system topic and event subscriptions: letters, digits and hyphens, as Event Grid allows.

        It contains the subscription, so that an environment with the same name in another subscription is not taken
        for ours.
        """
        return prefix_of(self.name, self.subscription)


def prefix_of(name: str, subscription: str, length: int = LENGTH) -> str:
    """Return the prefix for an environment of this name in a subscription.

    :param length: how much of the environment's name it contains.
    """
    return f"nextstage-{re.sub('[^A-Za-z0-9]', '-', name)[:length]}-{subscription[:8]}"


def _workspaces(given: Mapping[str, str], *, is_needed: bool) -> tuple[Resource, ...]:
    found: dict[str, Resource] = {}
    for variable in WORKSPACE_VARIABLES:
        for text in _parts(given.get(variable, "")):
            resource = resource_of(text.rstrip("/"))
            if resource is None or resource.type != WORKSPACE:
                raise CommandFailed(
                    f"{variable} is not the resource id of an Azure ML workspace: {text}; it has the form "
                    f"{_WORKSPACE_FORM}"
                )
            found.setdefault(resource.id.lower(), resource)
    if is_needed and not found:
        raise CommandFailed(
            f"{WORKSPACE_VARIABLES[0]} is not set; run 'azd env set {WORKSPACE_VARIABLES[0]} <id>' with the resource "
            "id of the workspace, which the portal shows in its JSON View; without azd, see --help"
        )
    return tuple(found.values())


def _resource(given: Mapping[str, str], variable: str) -> Resource:
    text = given.get(variable, "")
    if not text:
        return UNKNOWN
    resource = resource_of(text)
    if resource is None:
        raise CommandFailed(f"{variable} is not a resource id: {text}; it begins with /subscriptions/")
    return resource


def _statuses(given: Mapping[str, str]) -> tuple[str, ...]:
    """Return the statuses in each spelling of Azure ML, since a filter drops every event that it does not name."""
    found: dict[str, None] = {}
    for text in _parts(given.get(RUN_STATUSES, "")):
        status = final_status(text)
        if status is None:
            raise CommandFailed(
                f"{RUN_STATUSES} contains '{text}'; it must be a list of {', '.join(STATUSES)}, because the app "
                "ignores all other statuses"
            )
        found |= dict.fromkeys(spellings(status))
    return tuple(found)


def _flag(given: Mapping[str, str], variable: str) -> bool:
    text = given.get(variable, "").lower() or "false"
    if text not in {"true", "false"}:
        raise CommandFailed(f"{variable} is '{text}'; it must be true or false")
    return text == "true"


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
