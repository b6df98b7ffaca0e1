"""Who manages Azure, and at which address, as the environment says."""

import shutil
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from shared.clouds import CLOUDS, PUBLIC, Cloud
from shared.http.environment import is_loopback
from tools.azure.resource_manager import ResourceManager
from tools.errors import CommandFailed

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

URL_VARIABLE: Final = "AZURE_RESOURCE_MANAGER_URL"
PAUSE_VARIABLE: Final = "NEXTSTAGE_HOOK_PAUSE_SECONDS"
"""Replaces the length of every pause, so that tests need not wait."""

_AZD_SECONDS: Final = 60
"""azd is given more than the library's 10 seconds: it may refresh a token through a slow proxy."""


def resource_manager(environment: Mapping[str, str], say: Callable[[str], None]) -> ResourceManager:
    """Return a client for the Azure Resource Manager of the environment. Nothing is sent yet.

    :param say: tells the operator about long pauses.
    :raises CommandFailed: a variable is wrong.
    """
    cloud = cloud_of(environment)
    url = environment.get(URL_VARIABLE, "").strip() or cloud.resource_manager
    parts = urlsplit(url)
    if not parts.hostname or (parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname))):
        raise CommandFailed(f"{URL_VARIABLE} is '{url}'; it must begin with https://")
    return ResourceManager(credential(environment, cloud), url, pause_seconds=pause_seconds(environment), say=say)


def credential(environment: Mapping[str, str], cloud: Cloud) -> "TokenCredential":
    """Return azd's identity in an environment of azd, otherwise the identity that Azure's default chain finds.

    The chain asks azd too, but only after others, such as an Azure CLI that is signed in as somebody else.
    """
    from azure.identity import AzureDeveloperCliCredential, DefaultAzureCredential  # noqa: PLC0415 - slow to import

    if environment.get("AZURE_ENV_NAME") and shutil.which("azd", path=environment.get("PATH")):
        tenant = environment.get("AZURE_TENANT_ID", "").strip()
        return AzureDeveloperCliCredential(tenant_id=tenant, process_timeout=_AZD_SECONDS)
    return DefaultAzureCredential(authority=cloud.authority_host)


def cloud_of(environment: Mapping[str, str]) -> Cloud:
    """Return the cloud that ``AZURE_CLOUD`` names; by default the public one.

    :raises CommandFailed: there is no such cloud.
    """
    name = environment.get("AZURE_CLOUD", "").strip() or PUBLIC.name
    if name not in CLOUDS:
        raise CommandFailed(f"AZURE_CLOUD is '{name}'; it must be one of {', '.join(CLOUDS)}")
    return CLOUDS[name]


def pause_seconds(environment: Mapping[str, str]) -> float | None:
    """Return the pause that replaces every other one; None if there is none.

    :raises CommandFailed: it is not a number of seconds.
    """
    text = environment.get(PAUSE_VARIABLE, "").strip()
    try:
        seconds = float(text) if text else None
    except ValueError:
        seconds = -1
    if seconds is not None and not 0 <= seconds < float("inf"):
        raise CommandFailed(f"{PAUSE_VARIABLE} is '{text}'; it must be a number of seconds")
    return seconds
