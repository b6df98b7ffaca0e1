"""The settings of waiting tasks, checked. Read by ``shared/settings.py``, which knows the environment."""

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from shared.clouds import Cloud

DEFAULT_SWEEP_AFTER_MINUTES: Final = 30
# An agentless job's own token lives about 48 h; a day more for those who wait with the app's identity.
DEFAULT_TIMEOUT_HOURS: Final = 72
_WORKSPACE_ID: Final = re.compile(
    r"/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft\.MachineLearningServices/workspaces/[^/]+",
    re.IGNORECASE,
)
_HOST: Final = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)*(:[1-9][0-9]{0,4})?", re.ASCII)
_LOCAL: Final = ("http://127.0.0.1:", "http://localhost:")
_KEY_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class WaitSettings:
    """How tasks may wait for runs.

    :param token_keys: Fernet keys, the newest first; empty where they are in Key Vault.
    :param keys_secret_name: the secret in Key Vault that holds them.
    :param workspace_id: whose runs are asked for where no event has come; None: none are.
    """

    token_keys: tuple[str, ...] = field(repr=False)
    keys_secret_name: str | None
    allowed_hosts: tuple[str, ...]
    sweep_after_minutes: float
    timeout_hours: float
    workspace_id: str | None
    manager_url: str


def read_wait_settings(
    text: Callable[[str], str | None],
    number: Callable[[str, float, str], float],
    problems: list[str],
    *,
    cloud: Cloud,
    has_key_vault: bool,
    in_azure: bool,
) -> WaitSettings | None:
    """The settings; None where nothing turns waits on. What is wrong is added to the problems.

    :param text: reads a setting.
    :param number: reads a number above zero, from its name, its default and its unit.
    """
    keys = tuple(part.strip() for part in (text("WAIT_TOKEN_KEYS") or "").split(",") if part.strip())
    secret_name = text("WAIT_TOKEN_KEYS_SECRET_NAME")
    hosts = tuple(part.strip().lower() for part in (text("WAIT_ALLOWED_HOSTS") or "").split(",") if part.strip())
    settings = WaitSettings(
        token_keys=keys,
        keys_secret_name=secret_name,
        allowed_hosts=hosts,
        sweep_after_minutes=number("WAIT_SWEEP_AFTER_MINUTES", DEFAULT_SWEEP_AFTER_MINUTES, "minutes"),
        timeout_hours=number("WAIT_TIMEOUT_HOURS", DEFAULT_TIMEOUT_HOURS, "hours"),
        workspace_id=text("AML_WORKSPACE_ID"),
        manager_url=text("AZURE_RESOURCE_MANAGER_URL") or cloud.resource_manager,
    )
    problems.extend(_key_problems(settings, has_key_vault=has_key_vault))
    problems.extend(
        f"WAIT_ALLOWED_HOSTS: '{host}' is not a host, as in tfs.contoso.com or tfs.contoso.com:8443"
        for host in hosts
        if not _HOST.fullmatch(host)
    )
    problems.extend(_workspace_problems(settings, in_azure=in_azure))
    return settings if keys or secret_name else None


def _key_problems(settings: WaitSettings, *, has_key_vault: bool) -> list[str]:
    problems = [
        f"WAIT_TOKEN_KEYS: key {number} is not a Fernet key (32 bytes in URL-safe base64); make one with: "
        'python -c "from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())"'
        for number, key in enumerate(settings.token_keys, 1)
        if not _is_key(key)
    ]
    if settings.keys_secret_name and not settings.token_keys and not has_key_vault:
        problems.append(
            "WAIT_TOKEN_KEYS_SECRET_NAME names a secret, and KEY_VAULT_URL does not say in which vault; set it"
        )
    return problems


def _workspace_problems(settings: WaitSettings, *, in_azure: bool) -> list[str]:
    problems = []
    if settings.workspace_id is not None and not _WORKSPACE_ID.fullmatch(settings.workspace_id.rstrip("/")):
        problems.append(
            f"AML_WORKSPACE_ID is '{settings.workspace_id}'; it must be a workspace's resource id, as in "
            "/subscriptions/<id>/resourceGroups/<name>/providers/Microsoft.MachineLearningServices/workspaces/<name>"
        )
    is_local = settings.manager_url.startswith(_LOCAL) and not in_azure
    if not settings.manager_url.startswith("https://") and not is_local:
        problems.append(f"AZURE_RESOURCE_MANAGER_URL is '{settings.manager_url}'; it must begin with https://")
    return problems


def _is_key(text: str) -> bool:
    try:
        return len(base64.urlsafe_b64decode(text)) == _KEY_BYTES
    except ValueError:
        return False
