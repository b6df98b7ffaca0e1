"""The Azure clouds, with the sign-in address and the endpoint suffixes of each. No I/O.

The names are those of ``az cloud list`` and of Bicep's ``environment().name``.
Source: ``az cloud show``. For Event Grid's audiences: its documentation on publishing with Microsoft Entra ID.
"""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import urlsplit


class Cloud(NamedTuple):
    """One Azure cloud.

    :param authority_host: URL at which Microsoft Entra issues tokens.
    :param resource_manager: URL of Azure Resource Manager. The scope is this URL with ``/.default``.
    :param storage_suffix: how storage endpoints end, as in ``<account>.table.core.windows.net``. The audience of
        storage, ``https://storage.azure.com``, is the same in all clouds.
    :param key_vault_suffix: how the URLs of key vaults end. Key Vault names its audience in its own answers.
    :param event_grid_audience: audience of an Event Grid topic. The scope is this URL with ``/.default``.
    """

    name: str
    authority_host: str
    resource_manager: str
    storage_suffix: str
    key_vault_suffix: str
    event_grid_audience: str


PUBLIC: Final = Cloud(
    "AzureCloud",
    authority_host="https://login.microsoftonline.com",
    resource_manager="https://management.azure.com",
    storage_suffix="core.windows.net",
    key_vault_suffix="vault.azure.net",
    event_grid_audience="https://eventgrid.azure.net",
)
US_GOVERNMENT: Final = Cloud(
    "AzureUSGovernment",
    authority_host="https://login.microsoftonline.us",
    resource_manager="https://management.usgovcloudapi.net",
    storage_suffix="core.usgovcloudapi.net",
    key_vault_suffix="vault.usgovcloudapi.net",
    event_grid_audience="https://eventgrid.azure.us",
)
CHINA: Final = Cloud(
    "AzureChinaCloud",
    authority_host="https://login.chinacloudapi.cn",
    resource_manager="https://management.chinacloudapi.cn",
    storage_suffix="core.chinacloudapi.cn",
    key_vault_suffix="vault.azure.cn",
    event_grid_audience="https://eventgrid.azure.cn",
)

CLOUDS: Final[Mapping[str, Cloud]] = {cloud.name: cloud for cloud in (PUBLIC, US_GOVERNMENT, CHINA)}

_STORAGE_SUFFIXES: Final = ("storage.azure.net", *(cloud.storage_suffix for cloud in CLOUDS.values()))
"""The first one is that of endpoints in a DNS zone. Source: Azure Storage, "Storage account endpoints"."""

_STORAGE_HOST: Final = re.compile(
    rf"\.(?P<service>blob|dfs|file|queue|table|web)\.({'|'.join(map(re.escape, _STORAGE_SUFFIXES))})$"
)


def cloud_of(url: str) -> Cloud | None:
    """Return the cloud of a storage or Key Vault endpoint, judged by its host name; None if the name fits none."""
    suffixes = {cloud: (f".{cloud.storage_suffix}", f".{cloud.key_vault_suffix}") for cloud in CLOUDS.values()}
    host = _host(url)
    return next((cloud for cloud, ends in suffixes.items() if host.endswith(ends)), None)


def storage_service(url: str) -> str | None:
    """Return the service of a storage endpoint, as in ``queue``; None if the host fits none, as in a custom domain."""
    found = _STORAGE_HOST.search(_host(url))
    return None if found is None else found["service"]


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:  # brackets without an IPv6 address
        return ""
