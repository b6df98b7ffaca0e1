"""The table of settings. Each field is a row, so a new setting is a new field here and nothing else.

``make docs`` generates docs/settings.md from the rows.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Final, Literal

import shared.settings.parsers as parse
from shared.clouds import CLOUDS, PUBLIC, Cloud
from shared.settings.setting import ROW, Setting, setting

_AUTHS: Final[Mapping[str, Literal["identity", "pat"]]] = {"identity": "identity", "pat": "pat"}
_PAT: Final = "AZURE_DEVOPS_EXT_PAT"
_EXAMPLE_ID: Final = (
    "/subscriptions/<id>/resourceGroups/<name>/providers/Microsoft.MachineLearningServices/workspaces/<name>"
)
_WORKSPACE_ID: Final = re.sub("<[a-z]+>", "[^/]+", re.escape(_EXAMPLE_ID)) + "/*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings, after all checks. An optional setting that is not set is None.

    :param environment: where ``${NAME}`` in routes.yaml and a rotated PAT are looked up.
    """

    organization_url: str | None = setting(
        "AZURE_DEVOPS_ORG_URL",
        parse.url,
        "`https://dev.azure.com/<organization>`, or a collection of Azure DevOps Server: the default of "
        "[`organization_url`](routes.md#keys-of-a-route). Waiting tasks use it, too",
    )
    project: str | None = setting(
        "AZURE_DEVOPS_PROJECT", str, "The project: the default of [`project`](routes.md#keys-of-a-route)"
    )
    api_version: str = setting(
        "AZURE_DEVOPS_API_VERSION",
        parse.matching(r"[0-9]+\.[0-9]+(-preview(\.[0-9]+)?)?", "must be a version such as 7.1 or 6.0-preview.1"),
        "The version of the REST API of Azure DevOps. Azure DevOps Server 2022 supports 7.0, and 2020 supports 6.0",
        default="7.1",
    )
    auth: Literal["identity", "pat"] = setting(
        "AZURE_DEVOPS_AUTH",
        parse.one_of(_AUTHS),
        "`identity`: a Microsoft Entra token of the managed identity, or locally of the signed-in user. `pat`: a "
        "personal access token",
        default="identity",
    )
    pat_at_start: str | None = setting(
        _PAT, str, "With `pat`: the token itself, for local use or as a Key Vault reference", is_secret=True
    )
    key_vault_url: str | None = setting(
        "KEY_VAULT_URL",
        parse.matching("https://[^@?#]*", "must begin with https://, as in https://<name>.vault.azure.net"),
        "`https://<name>.vault.azure.net`: with `pat`, the vault that holds the token. The token is read again when "
        "Azure DevOps rejects it, so it can be rotated without a restart. The vault may also hold the keys of waiting "
        "tasks",
    )
    pat_secret_name: str | None = setting(
        "AZURE_DEVOPS_PAT_SECRET_NAME", str, "With `KEY_VAULT_URL`: the name of the secret that holds the token"
    )
    client_id: str | None = setting("AZURE_CLIENT_ID", str, "The client id of a user-assigned identity")
    cloud: Cloud = setting(
        "AZURE_CLOUD",
        parse.one_of(CLOUDS),
        "`AzureCloud`, `AzureUSGovernment` or `AzureChinaCloud`: the cloud to sign in to. `KEY_VAULT_URL`, "
        "`JOURNAL_CONNECTION` and `RESUME_STORAGE__queueServiceUri` must belong to it. Outside the public cloud, "
        "`AZURE_DEVOPS_AUTH` must be `pat`",
        default=PUBLIC.name,
    )
    journal_connection: str = setting(
        "JOURNAL_CONNECTION",
        parse.connection,
        "Where the journal is. `sqlite:PATH`: a file, for one machine; refused in Azure, where instances do not share "
        "files. `https://<account>.table.core.windows.net`: Azure Tables with the app's identity (role *Storage Table "
        "Data Contributor*). A storage account's connection string: Azure Tables with its key; "
        "`UseDevelopmentStorage=true` for Azurite. The table `nextstagejournal` is created when it is first needed",
        default="sqlite:journal.sqlite3",
        is_secret=True,
    )
    lease_seconds: float = setting(
        "JOURNAL_LEASE_SECONDS",
        parse.number_of("seconds", at_most=3600),
        "How many seconds a claim protects the delivery that made it. If its worker dies, the event waits that long. "
        "Must be more than `DELIVERY_BUDGET_SECONDS`, at most 3600",
        default="60",
    )
    budget_seconds: float = setting(
        "DELIVERY_BUDGET_SECONDS",
        parse.number_of("seconds", at_most=28),
        "How many seconds one delivery may take, at most 28: Event Grid stops listening after 30",
        default="25",
    )
    settle_seconds: float = setting(
        "JOURNAL_SETTLE_SECONDS",
        parse.number_of("seconds", at_most=3600),
        "How many seconds after a lost answer the app looks for the run, at most 3600. Throttling may hold a request "
        "for 30 s, and a new run may be missing from the list of builds for a while. With a lower value, a second run "
        "may be queued",
        default="120",
    )
    retention_days: float = setting(
        "JOURNAL_RETENTION_DAYS",
        parse.number_of("days", at_most=3650),
        "How many days records of queued, suppressed and gathered events are kept after their last change. Must be "
        "more than 30, the longest cooldown, at most 3650. Parked records are kept forever",
        default="90",
    )
    resume_storage: str | None = setting(
        "RESUME_STORAGE",
        parse.resume_storage,
        "Lets deferred events [come back automatically](how-it-works.md#resume) instead of with Event Grid's retries. "
        "`sqlite`: with a queue in the journal's SQLite file. A storage account's connection string: with a queue in "
        "Azure Queue Storage; `UseDevelopmentStorage=true` for Azurite",
        is_secret=True,
    )
    resume_queue_url: str | None = setting(
        "RESUME_STORAGE__queueServiceUri",
        parse.queue_service,
        "In place of `RESUME_STORAGE`: `https://<account>.queue.core.windows.net`, a queue in Azure Queue Storage with "
        "the app's identity (role *Storage Queue Data Contributor*)",
    )
    resume_queue: str = setting(
        "RESUME_QUEUE",
        parse.matching(
            "(?=.{3,55}$)(?-i:[a-z0-9]+(-[a-z0-9]+)*)", "must be 3 to 55 lowercase letters, digits and single hyphens"
        ),
        "The name of the queue in Azure Queue Storage",
        default="nextstage-resume",
    )
    resume_give_up_hours: float = setting(
        "RESUME_GIVE_UP_HOURS",
        parse.number_of("hours", at_most=8760),
        "After how many hours a deferred event is parked, at most 8760",
        default="168",
    )
    notify_topic_endpoint: str | None = setting(
        "NOTIFY_TOPIC_ENDPOINT",
        str,
        "The endpoint of an Event Grid custom topic, to which outcomes are published. See "
        "[notifications](notifications.md)",
    )
    notify_topic_key: str | None = setting(
        "NOTIFY_TOPIC_KEY",
        parse.matching(
            "[!-~]+", "contains characters that no key has; copy the whole key again: az eventgrid topic key list"
        ),
        "With `NOTIFY_TOPIC_ENDPOINT`: the topic's key, if the app's identity (role *EventGrid Data Sender*) cannot be "
        "used",
        is_secret=True,
    )
    routes_file: Path = setting(
        "ROUTES_FILE", Path, "The dispatch table, relative to `function_app.py`", default="routes.yaml"
    )
    wait_token_keys: tuple[str, ...] = setting(
        "WAIT_TOKEN_KEYS",
        parse.fernet_keys,
        "Lets tasks [wait without an agent](wait-without-an-agent.md): Fernet keys for their tokens, the newest first, "
        "separated by commas",
        default="",
        is_secret=True,
    )
    wait_keys_secret_name: str | None = setting(
        "WAIT_TOKEN_KEYS_SECRET_NAME", str, "The same, in a secret of the vault `KEY_VAULT_URL`"
    )
    wait_allowed_hosts: tuple[str, ...] = setting(
        "WAIT_ALLOWED_HOSTS",
        parse.hosts,
        "Additional hosts of Azure DevOps that a waiting task may name, as `host` or `host:port`, separated by commas",
        default="",
    )
    wait_client_ids: tuple[str, ...] = setting(
        "WAIT_CLIENT_IDS",
        parse.client_ids,
        "The client ids of the applications that may register waits with "
        "[a Microsoft Entra token](wait-without-an-agent.md#signing-in-with-microsoft-entra) in place of a function "
        "key, separated by commas",
        default="",
    )
    wait_sweep_after_minutes: float = setting(
        "WAIT_SWEEP_AFTER_MINUTES",
        parse.number_of("minutes", at_most=1440),
        "How many minutes a task waits for its run's event before the app asks Azure ML for the run's status, at most "
        "1440",
        default="30",
    )
    # The token of an agentless job is valid for about 48 h. After that, the app's identity can still complete the task.
    # 720 h are 30 days. JOURNAL_RETENTION_DAYS is always more, so no record of a wait is deleted before the wait ends.
    wait_timeout_hours: float = setting(
        "WAIT_TIMEOUT_HOURS",
        parse.number_of("hours", at_most=720),
        "How many hours a task may wait, at most 720",
        default="72",
    )
    wait_limit_per_organization: int = setting(
        "WAIT_LIMIT_PER_ORGANIZATION",
        parse.whole_number(at_most=5000),
        "How many tasks of one organization or collection may wait at the same time, at most 5000",
        default="2000",
    )
    wait_limit_per_plan: int = setting(
        "WAIT_LIMIT_PER_PLAN",
        parse.whole_number(at_most=5000),
        "How many tasks of one pipeline run may wait at the same time, at most 5000",
        default="100",
    )
    workspace_id: str | None = setting(
        "AML_WORKSPACE_ID",
        parse.matching(_WORKSPACE_ID, f"must be a workspace's resource id, as in {_EXAMPLE_ID}"),
        "The resource id of the workspace whose runs tasks wait for, if they name no other",
    )
    all_workspace_ids: tuple[str, ...] = setting(
        "AML_WORKSPACE_IDS",
        parse.several(_WORKSPACE_ID, f"a workspace's resource id, as in {_EXAMPLE_ID}"),
        "The resource ids of all workspaces whose runs tasks wait for, separated by commas. The one in "
        "`AML_WORKSPACE_ID` may be among them. If neither is set, the app does not ask Azure ML",
        default="",
    )
    resource_manager_url: str = setting(
        "AZURE_RESOURCE_MANAGER_URL",
        parse.url,
        "The address of Azure Resource Manager, through which the app asks Azure ML. If it is not set, the one of "
        f"`AZURE_CLOUD`: `{PUBLIC.resource_manager}` in the public cloud",
        default="",
    )
    worker_threads: int = setting(
        "PYTHON_THREADPOOL_THREAD_COUNT",
        parse.whole_number(at_most=1000),
        "A setting of Azure Functions: how many threads serve deliveries, at most 1000. The app keeps as many "
        "connections to Azure DevOps open. If it is not set, the Functions host sets 1000",
        default="32",
    )
    app_name: str = setting(
        "WEBSITE_SITE_NAME",
        str,
        "The function app's name: the source of notifications",
        default="local",
        is_set_by_azure=True,
    )
    instance_id: str | None = setting(
        "WEBSITE_INSTANCE_ID", str, "The app's instance in Azure; no local host sets it", is_set_by_azure=True
    )
    pod_name: str | None = setting("WEBSITE_POD_NAME", str, "The same, on hosts that run in pods", is_set_by_azure=True)
    has_sign_in: bool = setting(
        "WEBSITE_AUTH_ENABLED",
        parse.is_true,
        "Whether App Service authentication is on",
        default="False",
        is_set_by_azure=True,
    )
    environment: Mapping[str, str] = field(repr=False)

    @property
    def in_azure(self) -> bool:
        """Return whether the app runs in Azure."""
        return self.instance_id is not None or self.pod_name is not None

    @property
    def has_waits(self) -> bool:
        """Return whether tasks can wait for runs."""
        return bool(self.wait_token_keys) or self.wait_keys_secret_name is not None

    @property
    def has_resume(self) -> bool:
        """Return whether deferred events come back automatically."""
        return self.resume_storage is not None or self.resume_queue_url is not None

    @property
    def has_resume_trigger(self) -> bool:
        """Return whether the host takes the messages of deferred events, from Azure Queue Storage."""
        return self.has_resume and self.resume_storage != "sqlite"

    @property
    def workspace_ids(self) -> tuple[str, ...]:
        """Return the resource ids of all configured workspaces. Azure ignores their case."""
        ids = (*self.all_workspace_ids, *((self.workspace_id,) if self.workspace_id else ()))
        return tuple({each.strip("/").lower(): each for each in ids}.values())

    def pat(self) -> str | None:
        """Return the PAT that is in the environment now."""
        return self.environment.get(_PAT)


SETTINGS: Final[tuple[Setting, ...]] = tuple(
    column.metadata[ROW] for column in fields(Settings) if ROW in column.metadata
)
