"""Puts the app together from its settings: what function_app.py and the operator's commands both start from."""

import atexit
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from shared.azure_devops.client import PipelinesClient
from shared.clock import Clock, utc_now
from shared.clouds import PUBLIC
from shared.credentials import (
    Credential,
    azure_identity,
    entra_token,
    pat_from_environment,
    pat_from_key_vault,
)
from shared.errors import InvalidSettings
from shared.events.event import Handler
from shared.http.sending import Sender
from shared.http.throttle import ThrottleGate
from shared.http.transport import RequestsTransport, Transport
from shared.journal.backends import backend_of
from shared.journal.cooldown import Cooldowns
from shared.journal.journal import Journal
from shared.journal.records import Store
from shared.lazy import Lazy
from shared.queueing import Queueing
from shared.relay import Relay
from shared.routing.routes_file import load_routes
from shared.routing.table import RouteTable
from shared.settings import Settings, load_settings
from shared.telemetry import Decision, Report, log_decision

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

    from shared.notifications.notification import Notification
    from shared.notifications.notifier import Publish
    from shared.waits.bridge import Bridge


class Configuration(NamedTuple):
    """Settings and routes, both checked."""

    settings: Settings
    routes: RouteTable


def load_configuration(
    environment: Mapping[str, str], app_dir: Path, names: Mapping[str, Collection[str]]
) -> Configuration:
    """Read everything a person can get wrong.

    :param names: from each event type to the names its handler offers.
    :raises InvalidSettings: with every problem.
    :raises InvalidRoutes: with every problem.
    """
    settings = load_settings(environment, app_dir)
    try:
        text = settings.routes_file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise InvalidSettings(f"the routes cannot be read: {exc}; check the setting ROUTES_FILE") from exc
    return Configuration(
        settings, load_routes(text, source=settings.routes_file.name, names=names, environment=environment)
    )


class App(NamedTuple):
    """The app, put together."""

    relay: Relay
    journal: Journal
    retention: timedelta
    bridge: "Bridge | None" = None
    """None where no task may wait for a run."""


def compose(
    configuration: Configuration,
    dispatch: Mapping[str, Handler],
    *,
    store: Store | None = None,
    transport: Transport | None = None,
    report: Report | None = None,
    clock: Clock = utc_now,
) -> App:
    """Open the journal and make the relay; nothing is asked of Azure yet.

    :param store: instead of the one that the settings name.
    :param transport: instead of a pooled session.
    :param report: takes the decisions instead of the log and the topic for notifications.
    :raises JournalUnavailable: the journal cannot be opened.
    """
    settings = configuration.settings
    report = reporter(settings) if report is None else report
    store = store or open_store(settings)
    transport = transport or RequestsTransport(settings.worker_threads)
    gate = ThrottleGate(clock)
    own_credential = credential(settings)
    journal = Journal(store, lease_seconds=settings.lease_seconds, settle_seconds=settings.settle_seconds, clock=clock)
    pipelines = PipelinesClient(own_credential, transport, gate=gate, clock=clock)
    bridge = None
    if settings.waits is not None:
        from shared.waits.bridge import build_bridge

        sender = Sender(transport, gate, clock=clock)
        make_identity = identity_factory(settings)
        bridge = build_bridge(settings, settings.waits, journal, sender, own_credential, make_identity, report, clock)
    relay = Relay(
        dispatch=dispatch,
        routes=configuration.routes,
        journal=journal,
        queueing=Queueing(journal, pipelines, Cooldowns(store, clock), clock=clock),
        waits=None if bridge is None else bridge.waits,
        budget_seconds=settings.budget_seconds,
        report=report,
        clock=clock,
    )
    return App(relay, journal, timedelta(days=settings.retention_days), bridge)


def pipelines_client(settings: Settings, transport: Transport | None = None, clock: Clock = utc_now) -> PipelinesClient:
    """The way to Azure DevOps; nothing is asked yet.

    :param transport: instead of a pooled session.
    """
    return PipelinesClient(credential(settings), transport or RequestsTransport(settings.worker_threads), clock=clock)


def open_store(settings: Settings) -> Store:
    """Open the store that the settings name. What only other stores need is not imported.

    :raises JournalUnavailable: it cannot be opened.
    """
    backend = backend_of(settings.journal_connection)
    return backend.open(settings.journal_connection, identity_factory(settings), settings.worker_threads)


def identity_factory(settings: Settings) -> "Callable[[], TokenCredential]":
    """Makes the identity that the settings name, in their cloud."""
    authority_host = None if settings.cloud is PUBLIC else settings.cloud.authority_host
    return partial(azure_identity, settings.client_id, in_azure=settings.in_azure, authority_host=authority_host)


def reporter(settings: Settings) -> Report:
    """Where decisions are told: in the log, and to the topic for notifications where there is one."""
    if settings.notify_topic_endpoint is None:
        return log_decision
    from shared.notifications.notifier import Notifier

    notifier = Notifier(_publisher(settings, settings.notify_topic_endpoint), source=f"/nextstage/{settings.app_name}")
    atexit.register(notifier.close)

    def report(decision: Decision) -> None:
        log_decision(decision)
        notifier(decision)

    return report


def _publisher(settings: Settings, endpoint: str) -> "Publish":
    """Opens the topic for the first notification, in the notifier's thread: its library is slow to import."""

    def open_it() -> "Publish":
        from shared.notifications.topic_client import open_topic

        return open_topic(endpoint, settings.notify_topic_key, identity_factory(settings))

    topic = Lazy(open_it)

    def publish(notifications: "Sequence[Notification]") -> None:
        topic()(notifications)

    return publish


def credential(settings: Settings) -> Credential:
    """The way the settings choose to prove who the app is."""
    if settings.auth == "pat" and settings.pat():
        return pat_from_environment(settings.pat)
    make_identity = identity_factory(settings)
    if settings.auth == "pat" and settings.key_vault_url and settings.pat_secret_name:
        return pat_from_key_vault(settings.key_vault_url, settings.pat_secret_name, make_identity)
    return entra_token(make_identity)
