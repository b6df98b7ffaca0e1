"""Puts the bridge together from its settings."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from shared.clock import Clock
from shared.credentials import Credential, Secret, entra_token, read_secret
from shared.http.sending import Sender
from shared.journal.journal import Journal
from shared.settings import Settings
from shared.telemetry import Report
from shared.waits.aml import AmlRuns
from shared.waits.endpoint import Endpoint
from shared.waits.plan_url import PlanUrls
from shared.waits.settings import WaitSettings
from shared.waits.sweep import Sweep
from shared.waits.tasks import TasksClient
from shared.waits.tokens import TokenSeal
from shared.waits.waits import Waits

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential


@dataclass(frozen=True, slots=True)
class Bridge:
    """What the triggers and the relay need of it."""

    waits: Waits
    endpoint: Endpoint
    sweep: Sweep


def build_bridge(
    settings: Settings,
    wait_settings: WaitSettings,
    journal: Journal,
    sender: Sender,
    credential: Credential,
    make_identity: "Callable[[], TokenCredential]",
    report: Report,
    clock: Clock,
) -> Bridge:
    """Nothing is asked of Azure yet.

    :param credential: the app's own, for Azure DevOps.
    """
    plan_urls = PlanUrls(settings.organization_url, wait_settings.allowed_hosts, in_azure=settings.in_azure)
    seal = TokenSeal(key_reader(settings, wait_settings, make_identity))
    waits = Waits(journal, TasksClient(sender, credential), seal, plan_urls, report=report, clock=clock)
    runs = None
    if wait_settings.workspace_id is not None:
        manager_url = wait_settings.manager_url
        manager = entra_token(
            make_identity, clock, scope=f"{manager_url.rstrip('/')}/.default", audience="Azure Resource Manager"
        )
        runs = AmlRuns(manager_url, wait_settings.workspace_id, sender, manager)
    sweep = Sweep(
        journal,
        waits,
        runs,
        after=timedelta(minutes=wait_settings.sweep_after_minutes),
        timeout=timedelta(hours=wait_settings.timeout_hours),
        clock=clock,
    )
    return Bridge(waits, Endpoint(waits, plan_urls, threads=settings.worker_threads, clock=clock), sweep)


def key_reader(
    settings: Settings, wait_settings: WaitSettings, make_identity: "Callable[[], TokenCredential]"
) -> Callable[[], Sequence[Secret]]:
    """Reads the keys that the settings name, as they are now."""

    def read() -> Sequence[Secret]:
        keys: Sequence[str] = wait_settings.token_keys
        if not keys and settings.key_vault_url and wait_settings.keys_secret_name:
            keys = read_secret(settings.key_vault_url, wait_settings.keys_secret_name, make_identity).split(",")
        return [Secret(key.strip()) for key in keys]

    return read
