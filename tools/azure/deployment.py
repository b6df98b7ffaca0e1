"""A deployed app, as azd's environment names it."""

import json
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Self

from shared.credentials import Secret
from shared.journal.backends import backend_of
from tools.azure.event_resources import FUNCTION
from tools.azure.plan import FUNCTION_APP, NAME, Plan
from tools.azure.sources import Resource
from tools.errors import CommandFailed
from tools.installation import Installation

PROFILE: Final = "NEXTSTAGE_PROFILE"
_JOURNAL: Final = "JOURNAL_CONNECTION"
_STORES: Final = (_JOURNAL, "RESUME_STORAGE__queueServiceUri")
"""The settings that name where an app keeps its records and messages, as azd's environment has them."""
_AZD_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class Deployment:
    """A deployed app, and the plan of what events it receives.

    :param function: the function that receives the events.
    :param url: the address of the app; empty for the one that Azure Resource Manager names.
    :param key: the system key of its Event Grid endpoint; None to ask Azure Resource Manager for it.
    :param is_private: the app admits only Event Grid and its own network.
    """

    app: Resource
    plan: Plan
    function: str = FUNCTION
    url: str = ""
    key: Secret | None = None
    is_private: bool = False

    @classmethod
    def of(cls, plan: Plan, values: Mapping[str, str], url: str) -> Self:
        """Return the deployment that the values of an environment name.

        :param url: replaces the address of the app, unless it is empty.
        :raises CommandFailed: they name no app.
        """
        if not plan.function_app:
            raise CommandFailed(
                f"it is not known which app is deployed; run this after 'azd provision', or set {FUNCTION_APP} to the "
                "function app's resource ID"
            )
        return cls(plan.function_app, plan, url=url, is_private=is_private(values))

    @property
    def function_id(self) -> str:
        """The resource ID of the function."""
        return f"{self.app.id}/functions/{self.function}"


def is_private(values: Mapping[str, str]) -> bool:
    """Return whether the values of an environment choose the profile with a virtual network."""
    return values.get(PROFILE, "").strip() == "private"


def deployed(installation: Installation, name: str | None = None) -> Installation:
    """Return the installation with the values of azd's environment, unless it knows the deployed app already.

    azd passes its values to hooks only, so a command in a shell asks for them. Variables of the shell take precedence
    over azd's values. With these, local.settings.json has no effect, since it describes an app on this machine. As in
    azd, AZURE_ENV_NAME chooses the environment. The values of another one are not used: ``disconnect`` would delete
    what belongs to it.

    :param name: the name of an installation that azd may not know; its values must not be mixed with those of another.
    :raises CommandFailed: the installation has the values of another one already.
    """
    if name and installation.is_deployed:
        raise CommandFailed(f"--deployed excludes --name: azd does not know the values of {name}")
    azd = shutil.which("azd", path=installation.environ.get("PATH"))
    if installation.environ.get(FUNCTION_APP, "").strip():
        return replace(installation, is_deployed=True)
    if name or azd is None:
        return installation
    try:
        asked = subprocess.run(  # noqa: S603 - the command is fixed
            [azd, "env", "get-values", "--output", "json", "--no-prompt"],
            cwd=installation.app_dir,
            env={**installation.environ},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            timeout=_AZD_SECONDS,
        )
        values = dict(json.loads(asked.stdout))
    except (OSError, subprocess.SubprocessError, ValueError, TypeError):
        return installation  # there is no environment; the command reports what is missing
    if installation.environ.get(NAME, "") not in {"", values.get(NAME)}:
        return installation
    own = {name: value for name, value in installation.environ.items() if value or name not in values}
    return replace(installation, environ=values | own, is_deployed=True)


def deployed_app(installation: Installation) -> Installation:
    """Return the installation with what the shell and azd say of the deployed app, for ``manage.py --deployed``.

    :raises CommandFailed: the journal of the deployed app is not known, or the shell names a store of another app.
    """
    own = {name: installation.environ.get(name, "").strip() for name in _STORES}
    found = deployed(replace(installation, environ={**installation.environ, **dict.fromkeys(_STORES, "")}))
    for name, value in own.items():
        if value and value.rstrip("/") != (found.environ[name].strip() or value).rstrip("/"):
            raise CommandFailed(
                f"{name} is set here, but azd's environment has another value; unset it, or choose the environment "
                "with AZURE_ENV_NAME"
            )
    if (connection := own[_JOURNAL]) and (problem := backend_of(connection).problem_in_azure(connection)):
        raise CommandFailed(f"--deployed cannot use {_JOURNAL}: it {problem}")
    stores = {name: found.environ[name] or value for name, value in own.items()}
    if not stores[_JOURNAL].strip():
        raise CommandFailed(
            f"--deployed needs an environment of azd with the value {_JOURNAL}; run this after 'azd provision', choose "
            f"the environment with 'azd env select', or set {_JOURNAL} to the table endpoint of the app's storage "
            "account"
        )
    return replace(found, environ={**found.environ, **stores}, is_deployed=True)
