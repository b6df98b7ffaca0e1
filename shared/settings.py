"""The application settings. The only place that knows the environment's names; all are in the README's table."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from shared.clouds import CLOUDS, PUBLIC, Cloud, cloud_of
from shared.errors import InvalidSettings
from shared.journal.backends import backend_of
from shared.journal.cooldown import MAX_COOLDOWN
from shared.waits.settings import WaitSettings, read_wait_settings

DEFAULT_JOURNAL: Final = "sqlite:journal.sqlite3"
DEFAULT_ROUTES_FILE: Final = "routes.yaml"
DEFAULT_WORKER_THREADS: Final = 32
DEFAULT_APP_NAME: Final = "local"
# Set by Azure's own hosts and by none of the local ones.
_AZURE_MARKS: Final = ("WEBSITE_INSTANCE_ID", "WEBSITE_POD_NAME")


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings that have been checked. Times in seconds.

    :param journal_connection: see ``shared.journal.backends``; paths in it are absolute. Not shown, since it may hold
        an account key.
    :param organization_url: the organization that routes mean by default; None where each names its own.
    :param waits: None where no task may wait.
    :param notify_topic_endpoint: the custom topic that notifications go to; None: there are none.
    :param notify_topic_key: the topic's key; None: the app's identity is used.
    :param app_name: what Azure calls the function app; the source of notifications.
    :param environment: where ``${NAME}`` in routes.yaml and a rotated PAT are looked up; not shown.
    """

    organization_url: str | None
    auth: Literal["identity", "pat"]
    key_vault_url: str | None
    pat_secret_name: str | None
    client_id: str | None
    cloud: Cloud
    journal_connection: str = field(repr=False)
    lease_seconds: float
    budget_seconds: float
    settle_seconds: float
    retention_days: float
    routes_file: Path
    worker_threads: int
    waits: WaitSettings | None
    notify_topic_endpoint: str | None
    notify_topic_key: str | None = field(repr=False)
    app_name: str
    in_azure: bool
    environment: Mapping[str, str] = field(repr=False)

    def pat(self) -> str | None:
        """The PAT in the environment, as it is now."""
        return self.environment.get("AZURE_DEVOPS_EXT_PAT")


def load_settings(environment: Mapping[str, str], app_dir: Path) -> Settings:
    """Read and check all settings.

    :param app_dir: the folder of function_app.py, which relative paths start from.
    :raises InvalidSettings: with every problem at once; no value of a secret is in the message.
    """
    return _SettingsReader(environment, app_dir).read()


class _SettingsReader:
    def __init__(self, environment: Mapping[str, str], app_dir: Path) -> None:
        self._environment = environment
        self._app_dir = app_dir
        self._problems: list[str] = []

    def read(self) -> Settings:
        in_azure = any(self._environment.get(mark) for mark in _AZURE_MARKS)
        key_vault_url, cloud = self._text("KEY_VAULT_URL"), self._cloud()
        settings = Settings(
            organization_url=self._text("AZURE_DEVOPS_ORG_URL"),
            auth=self._auth(),
            key_vault_url=key_vault_url,
            pat_secret_name=self._text("AZURE_DEVOPS_PAT_SECRET_NAME"),
            client_id=self._text("AZURE_CLIENT_ID"),
            cloud=cloud,
            journal_connection=self._journal_connection(in_azure=in_azure),
            lease_seconds=self._number("JOURNAL_LEASE_SECONDS", 60, "seconds"),
            budget_seconds=self._number("DELIVERY_BUDGET_SECONDS", 25, "seconds"),
            settle_seconds=self._number("JOURNAL_SETTLE_SECONDS", 30, "seconds"),
            retention_days=self._number("JOURNAL_RETENTION_DAYS", 90, "days"),
            routes_file=self._app_dir / (self._text("ROUTES_FILE") or DEFAULT_ROUTES_FILE),
            worker_threads=self._worker_threads(),
            waits=read_wait_settings(
                self._text,
                self._number,
                self._problems,
                cloud=cloud,
                has_key_vault=key_vault_url is not None,
                in_azure=in_azure,
            ),
            notify_topic_endpoint=self._notify_topic_endpoint(in_azure=in_azure),
            notify_topic_key=self._notify_topic_key(),
            app_name=self._text("WEBSITE_SITE_NAME") or DEFAULT_APP_NAME,
            in_azure=in_azure,
            environment=self._environment,
        )
        self._check_pat(settings)
        self._check_retention(settings)
        self._check_cloud(settings)
        if settings.lease_seconds <= settings.budget_seconds:
            self._problems.append(
                f"JOURNAL_LEASE_SECONDS ({settings.lease_seconds:g}) must be longer than DELIVERY_BUDGET_SECONDS "
                f"({settings.budget_seconds:g}): a claim must outlive the delivery that made it"
            )
        if self._problems:
            raise InvalidSettings(
                "the application settings are wrong; nothing was started:\n  " + "\n  ".join(self._problems)
            )
        return settings

    def _check_retention(self, settings: Settings) -> None:
        if settings.retention_days <= MAX_COOLDOWN.days:
            self._problems.append(
                f"JOURNAL_RETENTION_DAYS ({settings.retention_days:g}) must be more than {MAX_COOLDOWN.days}, "
                "the longest cooldown: its window would be forgotten too early"
            )
        if settings.waits is not None and settings.retention_days * 24 <= settings.waits.timeout_hours:
            self._problems.append(
                f"WAIT_TIMEOUT_HOURS ({settings.waits.timeout_hours:g}) must be less than JOURNAL_RETENTION_DAYS "
                f"({settings.retention_days:g}) are: which run a task waits for would be forgotten too early"
            )

    def _auth(self) -> Literal["identity", "pat"]:
        auth = self._text("AZURE_DEVOPS_AUTH") or "identity"
        if auth == "pat":
            return "pat"
        if auth != "identity":
            self._problems.append(f"AZURE_DEVOPS_AUTH is '{auth}'; it must be 'identity' or 'pat'")
        return "identity"

    def _check_pat(self, settings: Settings) -> None:
        if settings.auth != "pat" or settings.pat():
            return
        if settings.key_vault_url is None and settings.pat_secret_name is None:
            self._problems.append(
                "AZURE_DEVOPS_AUTH is 'pat' and there is none: set AZURE_DEVOPS_EXT_PAT, "
                "or KEY_VAULT_URL and AZURE_DEVOPS_PAT_SECRET_NAME"
            )
        elif settings.key_vault_url is None or settings.pat_secret_name is None:
            self._problems.append(
                "KEY_VAULT_URL and AZURE_DEVOPS_PAT_SECRET_NAME belong together; set the other one too"
            )
        elif not settings.key_vault_url.startswith("https://"):
            self._problems.append("KEY_VAULT_URL must begin with https://, as in https://<name>.vault.azure.net")

    def _cloud(self) -> Cloud:
        name = self._text("AZURE_CLOUD") or PUBLIC.name
        if name not in CLOUDS:
            self._problems.append(f"AZURE_CLOUD is '{name}'; it must be one of {', '.join(CLOUDS)}")
        return CLOUDS.get(name, PUBLIC)

    def _check_cloud(self, settings: Settings) -> None:
        """Found here, since what belongs to another cloud would only be refused at the first event."""
        if settings.cloud.name != (self._text("AZURE_CLOUD") or PUBLIC.name):
            return  # it is wrong itself
        named = {"KEY_VAULT_URL": settings.key_vault_url, "JOURNAL_CONNECTION": settings.journal_connection}
        for name, url in named.items():
            found = cloud_of(url or "")
            if found is not None and found is not settings.cloud:
                self._problems.append(
                    f"{name} is an endpoint of {found.name}, and AZURE_CLOUD is {settings.cloud.name}; correct one"
                )
        if settings.cloud is not PUBLIC and settings.auth == "identity":
            self._problems.append(
                f"AZURE_DEVOPS_AUTH is 'identity' in {settings.cloud.name}, whose tokens neither Azure DevOps Services "
                "nor Azure DevOps Server takes; set it to 'pat'"
            )

    def _journal_connection(self, *, in_azure: bool) -> str:
        connection = self._text("JOURNAL_CONNECTION") or DEFAULT_JOURNAL
        backend = backend_of(connection)
        problem = backend.problem(connection) or (backend.problem_in_azure(connection) if in_azure else None)
        if problem is not None:
            self._problems.append(f"JOURNAL_CONNECTION {problem}")
        return backend.resolved(connection, self._app_dir)

    def _notify_topic_endpoint(self, *, in_azure: bool) -> str | None:
        endpoint, has_key = self._text("NOTIFY_TOPIC_ENDPOINT"), self._text("NOTIFY_TOPIC_KEY") is not None
        if endpoint is None:
            if has_key:
                self._problems.append("NOTIFY_TOPIC_KEY means nothing without NOTIFY_TOPIC_ENDPOINT; set that one too")
            return None
        from shared.notifications.topic_connection import endpoint_problem  # noqa: PLC0415 - only for those who use it

        if (problem := endpoint_problem(endpoint, has_key=has_key, in_azure=in_azure)) is not None:
            self._problems.append(f"NOTIFY_TOPIC_ENDPOINT {problem}")
        return endpoint

    def _notify_topic_key(self) -> str | None:
        key = self._text("NOTIFY_TOPIC_KEY")
        if key is None:
            return None
        from shared.notifications.topic_connection import key_problem  # noqa: PLC0415 - only for those who use it

        if (problem := key_problem(key)) is not None:
            self._problems.append(f"NOTIFY_TOPIC_KEY {problem}")
        return key

    def _worker_threads(self) -> int:
        text = self._text("PYTHON_THREADPOOL_THREAD_COUNT")
        if text is None:
            return DEFAULT_WORKER_THREADS
        if not text.isdigit() or int(text) == 0:
            self._problems.append(f"PYTHON_THREADPOOL_THREAD_COUNT is '{text}'; it must be a whole number above zero")
            return DEFAULT_WORKER_THREADS
        return int(text)

    def _number(self, name: str, default: float, unit: str) -> float:
        text = self._text(name)
        try:
            number = default if text is None else float(text)
        except ValueError:
            number = -1.0
        if not 0 < number < float("inf"):
            self._problems.append(f"{name} is '{text}'; it must be a number of {unit} above zero")
            return default
        return number

    def _text(self, name: str) -> str | None:
        return self._environment.get(name, "").strip() or None
