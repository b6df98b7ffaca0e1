"""A function app as Azure Resource Manager shows it: whether it runs, its address, its functions and its system key.

Source: Azure's REST API 2025-03-01, Web Apps - Get, List Functions, List Host Keys.
"""

from typing import Final, NamedTuple
from urllib.parse import urlsplit

from shared.credentials import Secret
from shared.http.environment import is_loopback
from tools.azure.answers import ResourceManagerError
from tools.azure.event_resources import WEB
from tools.azure.resource_manager import ResourceManager
from tools.errors import CommandFailed
from tools.events.endpoints import checked_key

_SYSTEM_KEY: Final = "eventgrid_extension"
_FROM_THE_HOST: Final = "from host runtime"
"""Ends the message of an error that a host causes which does not run.

Source: Azure Logic Apps docs, troubleshooting of the storage account.
"""


class Site(NamedTuple):
    """A function app.

    :param runs: whether it is not stopped.
    :param url: its address; empty if it has none.
    :param hosts: all names of its host, in lower case.
    """

    runs: bool
    url: str
    hosts: frozenset[str] = frozenset()

    def may_have_key(self, url: str) -> bool:
        """Return whether an address is one of the app, or on this machine."""
        host = (urlsplit(url).hostname or "").lower()
        return host in self.hosts or is_loopback(host)


def find_site(manager: ResourceManager, app_id: str) -> Site:
    """Return the function app.

    :raises CommandFailed: it does not exist, or may not be read.
    """
    found = manager.get(app_id, WEB)
    if found is None:
        raise CommandFailed(
            f"there is no function app {app_id}; check NEXTSTAGE_FUNCTION_APP_ID, or run 'azd provision'"
        )
    properties = found.object("properties")
    host = properties.text("defaultHostName", "")
    hosts = frozenset(each.lower() for each in (host, *properties.texts("hostNames")) if each)
    return Site(properties.text("state", "") != "Stopped", f"https://{host}" if host else "", hosts)


def enabled_functions(manager: ResourceManager, app_id: str) -> dict[str, bool]:
    """Return whether each function that Azure knows is enabled. After a deployment, Azure learns of them with a delay.

    :raises CommandFailed: they may not be listed.
    """
    functions = manager.list(f"{app_id}/functions", WEB)
    # The name is <app>/<function>.
    return {each.text("name").rpartition("/")[2]: not each.object("properties").get("isDisabled") for each in functions}


class HostNotReady(CommandFailed):
    """The app's host, which keeps the keys, does not answer Azure Resource Manager, or has not made the key yet."""


def system_key(manager: ResourceManager, app_id: str) -> Secret:
    """Return the key of the app's Event Grid endpoint. No message contains it.

    :raises HostNotReady: the key may be there a little later.
    :raises CommandFailed: the keys may not be listed.
    """
    try:
        answer = manager.post(f"{app_id}/host/default/listKeys", WEB)
    except ResourceManagerError as exc:
        if _FROM_THE_HOST in exc.reason:
            raise HostNotReady(str(exc)) from exc
        raise
    key = "" if answer is None else answer.object("systemKeys").text(_SYSTEM_KEY, "")
    if not key:
        raise HostNotReady(
            f"the app has no system key {_SYSTEM_KEY}: its host makes it when it starts with a function that receives "
            "events; see nextstage-no-functions in docs/operating.md"
        )
    return Secret(checked_key(key))
