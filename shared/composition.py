"""Builds the app from its settings, for function_app.py and the operator's commands."""

import atexit
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import cache, partial
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from shared.azure_devops.client import PipelinesClient
from shared.clock import Clock, utc_now
from shared.clouds import PUBLIC
from shared.credentials import (
    Credential,
    Secret,
    azure_identity,
    entra_token,
    pat_from_environment,
    pat_from_key_vault,
    read_secret,
)
from shared.errors import InvalidSettings, JournalUnavailable
from shared.events.event import Handler
from shared.http.sending import Sender
from shared.http.throttle import ThrottleGate
from shared.journal.backends import backend_of
from shared.journal.cooldown import Cooldowns
from shared.journal.journal import Journal
from shared.journal.records import NO_EVENT, ORPHANS, WAIT_PREFIX, JournalKey, Record, Store
from shared.logs import NEXT_INVOCATION, logger
from shared.queueing.queueing import Queueing
from shared.relay import SET_RESUME, Relay, WaitingTasks
from shared.routing.routes_file import load_routes
from shared.routing.table import RouteTable, gathers
from shared.settings import Settings, load_settings
from shared.settings.misspelled import misspelled
from shared.telemetry import Decision, Report, Result, log_decision
from shared.waits.off import EndsWithoutKeys

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

    from shared.http.transport import Transport
    from shared.journal.sqlite import SqliteStore
    from shared.notifications.notification import Notification
    from shared.notifications.notifier import Publish
    from shared.relay import Deferrals
    from shared.resume.gathering import Gathering
    from shared.resume.queue import DueQueue
    from shared.resume.resume import Resume
    from shared.resume.sqlite_queue import SqliteQueue
    from shared.resume.thread import ResumeThread
    from shared.waits.aml import AmlRuns
    from shared.waits.endpoint import Endpoint
    from shared.waits.ends import Ends
    from shared.waits.sign_in import SignIn
    from shared.waits.sweep import Sweep
    from shared.waits.waits import Waits


_WORKERS: Final = 8
"""How many waiting tasks are completed at the same time."""

_ANNOUNCE_PAUSES: Final = (2.0, 5.0, 30.0)
"""In seconds. The first event of a new process is not delayed."""

_log = logger("nextstage.routes")


class Configuration(NamedTuple):
    """The settings and the routes, both checked."""

    settings: Settings
    routes: RouteTable


def load_configuration(
    environment: Mapping[str, str], app_dir: Path, names: Mapping[str, Collection[str]]
) -> Configuration:
    """Read and check everything that a person configures.

    :param names: maps each event type to the names that its handler provides.
    :raises InvalidSettings: the settings are wrong; the message lists every problem.
    :raises InvalidRoutes: the routes are wrong; the message lists every problem.
    """
    configuration = read_configuration(environment, app_dir, names)
    if problem := resume_problem(configuration):
        raise InvalidSettings(problem)
    return configuration


def read_configuration(
    environment: Mapping[str, str], app_dir: Path, names: Mapping[str, Collection[str]]
) -> Configuration:
    """Read what a person configures, to decide about events without acting on them. A resume queue may be missing.

    The parameters and errors are those of ``load_configuration``.
    """
    settings = load_settings(environment, app_dir)
    try:
        text = settings.routes_file.read_text(encoding="utf-8")
    except UnicodeDecodeError as exc:
        raise InvalidSettings(
            f"the routes cannot be read: {settings.routes_file} is not UTF-8; save it as UTF-8"
        ) from exc
    except OSError as exc:
        raise InvalidSettings(f"the routes cannot be read: {exc}; check the setting ROUTES_FILE") from exc
    routes = load_routes(text, source=settings.routes_file.name, names=names, environment=environment)
    return Configuration(settings, routes)


def resume_problem(configuration: Configuration) -> str:
    """Return why the app does not start if routes gather and there is no resume queue; empty if it starts."""
    settings, routes = configuration
    gathering = [route.name for route in routes.routes if gathers(route)]
    if settings.has_resume or not gathering:
        return ""
    return (
        f"{settings.routes_file.name}: 'gather' needs a resume queue, whose messages end a period, so the app does not "
        f"start with these settings; {SET_RESUME}, or disable these routes: {', '.join(gathering)}"
    )


class Bridge(NamedTuple):
    """The parts with which pipeline tasks wait for runs; see ``shared.waits``."""

    waits: "Waits"
    endpoint: "Endpoint"
    sweep: "Sweep"
    sign_in: "SignIn"


class Resumption(NamedTuple):
    """The parts with which deferred events come back; see ``shared.resume``."""

    resume: "Resume"
    queue: "DueQueue"


class App(NamedTuple):
    """The assembled app."""

    relay: Relay
    journal: Journal
    queueing: Queueing
    retention: timedelta
    bridge: Bridge | None = None
    """None if waiting for runs is switched off."""
    resumption: Resumption | None = None
    """None if deferred events come back only with Event Grid's next delivery."""


def compose(
    configuration: Configuration,
    dispatch: Mapping[str, Handler],
    *,
    store: Store | None = None,
    queue: "DueQueue | None" = None,
    transport: "Transport | None" = None,
    report: Report | None = None,
    clock: Clock = utc_now,
) -> App:
    """Open the journal and build the app. Sends no request to Azure.

    :param store: replaces the store that the settings name.
    :param queue: replaces the queue that the settings name.
    :param transport: replaces the pooled transport.
    :param report: receives the decisions, in place of the log and the notification topic.
    :raises JournalUnavailable: the journal cannot be opened.
    :raises ResumeUnavailable: the queue cannot be opened.
    """
    settings, routes = configuration
    for message in misspelled(settings.environment, settings.routes_file):
        _log.warning("%s", message)
    _log.info("%s: digest %s, routes: %d", settings.routes_file.name, routes.digest, len(routes.routes))
    store = store or open_store(settings, clock)
    transport = transport or _pool(settings)
    own_credential = credential(settings)
    journal = Journal(
        store,
        lease_seconds=settings.lease_seconds,
        settle_seconds=settings.settle_seconds,
        spares_others=settings.has_resume or queue is not None,
        clock=clock,
    )
    report = reporter(settings, journal) if report is None else report
    pipelines = PipelinesClient(own_credential, transport, api_version=settings.api_version, clock=clock)
    if queue is None and settings.has_resume:
        queue = open_due_queue(settings, store, clock)
    deferrals = None if queue is None else _deferrals(journal, queue, clock)
    gathering = None if queue is None else _gathering(journal, queue, clock)
    come_again = None if deferrals is None else partial(deferrals.come_again, NO_EVENT)
    queueing = Queueing(journal, pipelines, Cooldowns(store, clock), come_again=come_again, clock=clock)
    bridge: Bridge | None = None
    waits: WaitingTasks
    if settings.has_waits:
        # A task that cannot register fails, so it is not held back because other requests had no answer.
        sender = Sender(transport, ThrottleGate(clock, max_failures=inf), clock=clock)
        bridge = _bridge(settings, journal, sender, own_credential, come_again, report, clock)
        waits = bridge.waits
    else:
        waits = EndsWithoutKeys(journal, partial(_ends, settings, journal), report, clock)
    relay = Relay(
        dispatch=dispatch,
        routes=routes,
        journal=journal,
        queueing=queueing,
        waits=waits,
        deferrals=deferrals,
        gatherings=gathering,
        budget_seconds=settings.budget_seconds,
        report=report,
        clock=clock,
        instance=settings.instance_id or settings.pod_name or "",
    )
    app = App(relay, journal, queueing, timedelta(days=settings.retention_days), bridge)
    if queue is None or gathering is None:
        return app
    return app._replace(resumption=_resumption(settings, app, queue, gathering, report, clock))


def announce_routes(
    app: Callable[[], App], routes: RouteTable, pauses: Iterable[float] = _ANNOUNCE_PAUSES
) -> threading.Thread:
    """Write down in the journal which routes.yaml this app runs, on a thread: the start does not wait.

    Deliveries report a journal that does not answer, so this tries again a few times, and then gives up.

    :param app: returns the app, which the first event may have composed already.
    """

    def announce_now() -> None:
        for pause in pauses:
            time.sleep(pause)
            from shared.routing.running import announce  # after the pause, when the first event is done

            with NEXT_INVOCATION.keeping(), suppress(JournalUnavailable):
                announce(app().journal, routes)
                return

    thread = threading.Thread(target=announce_now, name="announce routes", daemon=True)
    thread.start()
    return thread


def _deferrals(journal: Journal, queue: "DueQueue", clock: Clock) -> "Deferrals":
    from shared.resume.deferrals import DeliveryDeferrals

    return DeliveryDeferrals(journal, queue, clock)


def _gathering(journal: Journal, queue: "DueQueue", clock: Clock) -> "Gathering":
    from shared.resume.gathering import Gathering

    return Gathering(journal, queue, clock=clock)


def _resumption(
    settings: Settings, app: App, queue: "DueQueue", gathering: "Gathering", report: Report, clock: Clock
) -> Resumption:
    from shared.resume.resume import Kind, Resume

    def settle(orphan: Record) -> Result | None:
        return app.queueing.recovery.orphans.take_up(orphan)

    kinds = [Kind(lambda record: record.key.route == ORPHANS, settle), *gathering.kinds()]
    if app.bridge is not None:
        waits, budget = app.bridge.waits, timedelta(seconds=settings.budget_seconds)
        kinds.append(
            Kind(
                lambda record: record.key.route.startswith(WAIT_PREFIX),
                lambda record: waits.take_up(record, clock() + budget),
            )
        )
    give_up = timedelta(hours=settings.resume_give_up_hours)
    resume = Resume(app.relay, app.journal, queue, give_up=give_up, kinds=kinds, report=report, clock=clock)
    return Resumption(resume, queue)


def start_resuming(app: Callable[[], App]) -> "ResumeThread":
    """Take up what is due in a SQLite queue, on a thread of this process. A restart goes on with what was due.

    :param app: returns the app, which the first event may have composed already.
    """
    from shared.resume.thread import ResumeThread

    def parts() -> "tuple[Resume, SqliteQueue]":
        resumption = app().resumption
        assert resumption is not None  # noqa: S101 - for the type checker
        return resumption.resume, cast("SqliteQueue", resumption.queue)

    return ResumeThread(parts)


def open_due_queue(settings: Settings, store: Store, clock: Clock = utc_now) -> "DueQueue":
    """Open the queue that the settings name.

    :param store: the journal's store.
    :raises ResumeUnavailable: the queue cannot be opened.
    """
    if not settings.has_resume_trigger:
        from shared.resume.sqlite_queue import SqliteQueue

        return SqliteQueue(cast("SqliteStore", store), timedelta(seconds=settings.lease_seconds), clock)
    from shared.resume.azure_queue import AzureQueue

    connection = settings.resume_storage or settings.resume_queue_url or ""
    identity = identity_factory(settings)
    return AzureQueue(connection, settings.resume_queue, identity, connections=settings.worker_threads)


def _ends(settings: Settings, journal: Journal) -> "Ends":
    from shared.waits.ends import Ends
    from shared.waits.workspaces import Workspaces

    return Ends(journal, Workspaces(journal, settings.workspace_id, settings.workspace_ids))


def _bridge(
    settings: Settings,
    journal: Journal,
    sender: Sender,
    own_credential: Credential,
    come_again: "Callable[[JournalKey, Result], datetime | None] | None",
    report: Report,
    clock: Clock,
) -> Bridge:
    """Build the parts with which tasks wait for runs. Sends no request to Azure.

    :param own_credential: the app's own credential for Azure DevOps.
    :param come_again: see ``Waits``.
    """
    from shared.waits.endpoint import Endpoint
    from shared.waits.fairness.quotas import Quotas
    from shared.waits.fairness.sharing import Workers
    from shared.waits.plan_url import PlanUrls
    from shared.waits.sign_in import SignIn
    from shared.waits.sweep import Sweep
    from shared.waits.task_client import TasksClient
    from shared.waits.tokens import TokenSeal
    from shared.waits.waits import Waits
    from shared.waits.workspaces import Workspaces

    workspaces = Workspaces(journal, settings.workspace_id, settings.workspace_ids)
    workers = Workers(_WORKERS)
    quotas = Quotas(
        journal,
        per_organization=settings.wait_limit_per_organization,
        per_plan=settings.wait_limit_per_plan,
        clock=clock,
    )
    plan_urls = PlanUrls(settings.organization_url, settings.wait_allowed_hosts, in_azure=settings.in_azure)
    seal = TokenSeal(partial(wait_keys, settings))
    tasks = TasksClient(sender, own_credential, settings.api_version)
    waits = Waits(
        *(journal, tasks, seal, plan_urls, workspaces, quotas),
        workers=workers,
        come_again=come_again,
        report=report,
        clock=clock,
    )
    sweep = Sweep(
        journal,
        waits,
        workspaces,
        _aml_runs(settings, sender, clock),
        after=timedelta(minutes=settings.wait_sweep_after_minutes),
        timeout=timedelta(hours=settings.wait_timeout_hours),
        workers=workers,
        clock=clock,
    )
    endpoint = Endpoint(waits, plan_urls, threads=settings.worker_threads, clock=clock)
    return Bridge(waits, endpoint, sweep, SignIn(settings.wait_client_ids, is_checked=settings.has_sign_in))


def _aml_runs(settings: Settings, sender: Sender, clock: Clock) -> "list[AmlRuns]":
    """Return a reader for the runs of each configured workspace."""
    if not settings.workspace_ids:
        return []
    from shared.waits.aml import AmlRuns

    url = settings.resource_manager_url
    scope = f"{url.rstrip('/')}/.default"
    manager = entra_token(identity_factory(settings), clock, scope=scope, audience="Azure Resource Manager")
    return [AmlRuns(url, each, sender, manager) for each in settings.workspace_ids]


def wait_keys(settings: Settings) -> list[Secret]:
    """Read the current keys that encrypt the tokens of waiting tasks.

    :raises CredentialUnavailable: the keys are in Key Vault and cannot be read.
    """
    keys: Sequence[str] = settings.wait_token_keys
    if not keys and settings.key_vault_url and settings.wait_keys_secret_name:
        make_identity = identity_factory(settings)
        keys = read_secret(settings.key_vault_url, settings.wait_keys_secret_name, make_identity).split(",")
    return [Secret(key.strip()) for key in keys]


def pipelines_client(
    settings: Settings, transport: "Transport | None" = None, clock: Clock = utc_now
) -> PipelinesClient:
    """Return a client for Azure DevOps. Sends no request.

    :param transport: replaces the pooled transport.
    """
    return PipelinesClient(
        credential(settings), transport or _pool(settings), api_version=settings.api_version, clock=clock
    )


def _pool(settings: Settings) -> "Transport":
    from shared.http.transport import RequestsTransport

    return RequestsTransport(settings.worker_threads)


def open_store(settings: Settings, clock: Clock = utc_now) -> Store:
    """Open the store that the settings name. The code of other stores is not imported.

    :param clock: this process's clock.
    :raises JournalUnavailable: the store cannot be opened.
    """
    backend = backend_of(settings.journal_connection)
    return backend.open(settings.journal_connection, identity_factory(settings), settings.worker_threads, clock)


def open_store_to_read(settings: Settings) -> Store:
    """Open the store for a command that only reads. A store of an earlier version is not upgraded.

    :raises JournalUnavailable: the store cannot be opened.
    """
    backend = backend_of(settings.journal_connection)
    return backend.open_to_read(settings.journal_connection, identity_factory(settings), settings.worker_threads)


def identity_factory(settings: Settings) -> "Callable[[], TokenCredential]":
    """Return a function that makes the app's identity, in the cloud of the settings."""
    authority_host = None if settings.cloud is PUBLIC else settings.cloud.authority_host
    return partial(azure_identity, settings.client_id, in_azure=settings.in_azure, authority_host=authority_host)


def reporter(settings: Settings, journal: Journal) -> Report:
    """Return the function that reports decisions: to the log and, if one is configured, to the notification topic.

    :param journal: counts the notifications that are lost.
    """
    endpoint = settings.notify_topic_endpoint
    if endpoint is None:
        return log_decision
    from shared.notifications.notifier import Notifier

    @cache
    def topic() -> "Publish":
        """Open the topic at the first notification, in the notifier's thread: its library is slow to import."""
        from shared.notifications.topic_client import Topic

        return Topic(endpoint, settings.notify_topic_key, identity_factory(settings))

    def publish(notifications: "Sequence[Notification]") -> None:
        topic()(notifications)

    notifier = Notifier(publish, source=f"/nextstage/{settings.app_name}")

    def report(decision: Decision) -> None:
        log_decision(decision)
        notifier(decision)
        if decision.cause != JournalUnavailable.__name__:  # otherwise, it would only cost the delivery more time
            notifier.losses.write(journal)

    def end() -> None:
        notifier.close()
        notifier.losses.write(journal)

    atexit.register(end)

    return report


def credential(settings: Settings) -> Credential:
    """Return the credential for Azure DevOps that the settings choose."""
    if settings.auth == "pat" and settings.pat():
        return pat_from_environment(settings.pat)
    make_identity = identity_factory(settings)
    if settings.auth == "pat" and settings.key_vault_url and settings.pat_secret_name:
        return pat_from_key_vault(settings.key_vault_url, settings.pat_secret_name, make_identity)
    return entra_token(make_identity)
