"""Reads all settings and checks that they are consistent."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from shared.clouds import PUBLIC, cloud_of
from shared.errors import InvalidSettings
from shared.http.environment import PROXY_ADVICE, is_loopback, is_proxy
from shared.journal.backends import backend_of
from shared.journal.cooldown import MAX_COOLDOWN
from shared.settings.misspelled import misspelled
from shared.settings.setting import ROW, InvalidValue
from shared.settings.table import Settings

_LOCAL: Final = ("http://127.0.0.1:", "http://localhost:")
_PROXIES: Final = tuple(form for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY") for form in (name, name.lower()))
_TOPIC_PATH: Final = "/api/events"
"""The path of every custom topic's endpoint. Source: Event Grid documentation, "Publish events to custom topics"."""

_TOPIC_ADVICE: Final = (
    "copy it from 'az eventgrid topic show --query endpoint', for example "
    "https://<topic>.<region>-1.eventgrid.azure.net/api/events"
)


def load_settings(environment: Mapping[str, str], app_dir: Path) -> Settings:
    """Read and check all settings.

    :param app_dir: the folder of function_app.py; relative paths start there.
    :raises InvalidSettings: a setting is wrong. The message lists every problem and contains no secret.
    """
    values: dict[str, Any] = {}
    problems: dict[str, str] = {}
    for column in fields(Settings):
        if (row := column.metadata.get(ROW)) is None:
            continue
        try:
            values[column.name] = row.read(environment)
        except InvalidValue as exc:
            values[column.name] = row.default_value
            problems[row.name] = str(exc)
    problems |= {name: f"{name} {PROXY_ADVICE}" for name in _PROXIES if not is_proxy(environment.get(name) or "unset")}
    settings = _completed(Settings(**values, environment=environment), app_dir)
    # An invalid setting has its default value here, so a conflict that names it would be misleading.
    conflicts = [text for text in _conflicts(settings) if not any(name in text for name in problems)]
    if lines := [*problems.values(), *conflicts]:
        lines += misspelled(environment, settings.routes_file)
        raise InvalidSettings("the application settings are wrong, so the app does not start:\n  " + "\n  ".join(lines))
    return settings


def _completed(settings: Settings, app_dir: Path) -> Settings:
    """Make paths absolute, and derive settings that are not set from the cloud."""
    connection = settings.journal_connection
    return replace(
        settings,
        routes_file=app_dir / settings.routes_file,
        journal_connection=backend_of(connection).resolved(connection, app_dir),
        resource_manager_url=settings.resource_manager_url or settings.cloud.resource_manager,
    )


def _conflicts(settings: Settings) -> Iterator[str]:
    """Yield a message for each conflict. The message must contain the names of the settings in conflict."""
    checks = (
        _pat_conflicts,
        _journal_conflicts,
        _resume_conflicts,
        _wait_conflicts,
        _topic_conflicts,
        _cloud_conflicts,
    )
    for check in checks:
        yield from check(settings)


def _pat_conflicts(settings: Settings) -> Iterator[str]:
    if settings.auth != "pat" or settings.pat():
        return
    if settings.key_vault_url is None and settings.pat_secret_name is None:
        yield (
            "AZURE_DEVOPS_AUTH is 'pat', but no PAT is configured; set AZURE_DEVOPS_EXT_PAT, "
            "or KEY_VAULT_URL and AZURE_DEVOPS_PAT_SECRET_NAME"
        )
    elif settings.key_vault_url is None or settings.pat_secret_name is None:
        yield "KEY_VAULT_URL and AZURE_DEVOPS_PAT_SECRET_NAME must be set together; set the other one too"


def _journal_conflicts(settings: Settings) -> Iterator[str]:
    problem = backend_of(settings.journal_connection).problem_in_azure(settings.journal_connection)
    if settings.in_azure and problem is not None:
        yield f"JOURNAL_CONNECTION {problem}"
    if settings.lease_seconds <= settings.budget_seconds:
        yield (
            f"JOURNAL_LEASE_SECONDS ({settings.lease_seconds:g}) must be longer than DELIVERY_BUDGET_SECONDS "
            f"({settings.budget_seconds:g}): a claim must last longer than the delivery that made it"
        )
    if settings.retention_days <= MAX_COOLDOWN.days:
        yield (
            f"JOURNAL_RETENTION_DAYS ({settings.retention_days:g}) must be more than {MAX_COOLDOWN.days}, "
            "the longest cooldown: otherwise a cooldown could be deleted before it ends"
        )


def _resume_conflicts(settings: Settings) -> Iterator[str]:
    if settings.resume_storage is not None and settings.resume_queue_url is not None:
        yield "RESUME_STORAGE and RESUME_STORAGE__queueServiceUri name two queues; remove one"
    if settings.resume_storage == "sqlite" and not settings.journal_connection.startswith("sqlite:"):
        yield (
            "RESUME_STORAGE is 'sqlite', but JOURNAL_CONNECTION does not name a SQLite file; set RESUME_STORAGE to a "
            "storage account's connection string, or set RESUME_STORAGE__queueServiceUri instead"
        )


def _wait_conflicts(settings: Settings) -> Iterator[str]:
    if settings.wait_keys_secret_name and not settings.wait_token_keys and settings.key_vault_url is None:
        yield "WAIT_TOKEN_KEYS_SECRET_NAME is set without KEY_VAULT_URL; set KEY_VAULT_URL to the secret's vault"
    url = settings.resource_manager_url
    if not url.startswith("https://") and (settings.in_azure or not url.startswith(_LOCAL)):
        yield f"AZURE_RESOURCE_MANAGER_URL is '{url}'; it must begin with https://"


def _topic_conflicts(settings: Settings) -> Iterator[str]:
    endpoint, has_key = settings.notify_topic_endpoint, settings.notify_topic_key is not None
    if endpoint is None:
        if has_key:
            yield "NOTIFY_TOPIC_KEY has no effect without NOTIFY_TOPIC_ENDPOINT; set NOTIFY_TOPIC_ENDPOINT too"
        return
    if (problem := _topic_problem(endpoint, has_key=has_key, in_azure=settings.in_azure)) is not None:
        yield f"NOTIFY_TOPIC_ENDPOINT {problem}"


def _topic_problem(endpoint: str, *, has_key: bool, in_azure: bool) -> str | None:
    """Return why the endpoint of a custom topic cannot be used; None if it can.

    :param has_key: whether a key is configured. Without a key, the app's identity is used.
    """
    try:
        url = urlsplit(endpoint)
        _ = url.port
    except ValueError:
        return f"is not a URL; {_TOPIC_ADVICE}"
    if (problem := _topic_form_problem(url)) is not None:
        return f"{problem}; {_TOPIC_ADVICE}"
    if url.scheme == "https":
        return None
    if in_azure or not is_loopback(url.hostname or ""):
        return (
            "must begin with https://, since a credential is sent there (http:// is allowed only on your own machine)"
        )
    if has_key:
        return None
    return "is http://, which is not allowed for an identity's token; set NOTIFY_TOPIC_KEY, or use https://"


def _topic_form_problem(url: SplitResult) -> str | None:
    if url.scheme not in ("http", "https") or not url.hostname:
        return "must begin with https://"
    if url.username or url.password or url.query or url.fragment:
        return "must not contain a user name, password, query or fragment"
    if url.path.rstrip("/") != _TOPIC_PATH:
        return f"must end in {_TOPIC_PATH}"
    return None


def _cloud_conflicts(settings: Settings) -> Iterator[str]:
    """Check that endpoints belong to the cloud. Otherwise the error would occur only with the first event."""
    for name, url in (
        ("KEY_VAULT_URL", settings.key_vault_url),
        ("JOURNAL_CONNECTION", settings.journal_connection),
        ("RESUME_STORAGE__queueServiceUri", settings.resume_queue_url),
    ):
        found = cloud_of(url or "")
        if found is not None and found is not settings.cloud:
            yield f"{name} is an endpoint of {found.name}, but AZURE_CLOUD is {settings.cloud.name}; correct one"
    if settings.cloud is not PUBLIC and settings.auth == "identity":
        yield (
            "AZURE_DEVOPS_AUTH is 'identity', but neither Azure DevOps Services nor Azure DevOps Server accepts tokens "
            f"of {settings.cloud.name}; set it to 'pat'"
        )
