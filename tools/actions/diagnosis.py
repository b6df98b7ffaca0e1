"""The doctor's checks, in order. A failed check skips only the checks that depend on it."""

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Final, TypeVar

from shared.azure_devops.client import PipelinesClient
from shared.clock import utc_now
from shared.composition import credential, identity_factory, open_store, open_store_to_read, wait_keys
from shared.credentials import Credential, Secret
from shared.errors import ConfigurationError, NextstageError
from shared.http.transport import RequestsTransport
from shared.journal.backends import backend_of
from shared.journal.journal import Journal
from shared.journal.records import Selection, State
from shared.resume.period import is_group
from shared.routing.running import running_routes
from shared.routing.table import Route, RouteTable
from shared.settings import Settings, load_settings
from shared.settings.misspelled import misspelled
from shared.waits.request import Task
from shared.waits.tokens import TokenSeal
from shared.waits.wait import Wait
from tools.actions.azure_devops_checks import PROJECT, check_azure_devops
from tools.actions.check_results import JOURNAL, CheckResult, Status, clock_check, failed
from tools.actions.running_app import ADVICE, difference, table_words
from tools.errors import CommandFailed
from tools.events.endpoints import checked_key
from tools.events.webhook import DEFAULT_URL, KEY_VARIABLE, HandshakeFailed, HostUnreachable, Webhook, webhook
from tools.installation import Installation
from tools.local_settings import FILE_NAME
from tools.presentation import counted

_KEY_VAULT_REFERENCE: Final = "@microsoft.keyvault("
_CORRECT_SETTINGS: Final = f"correct the application settings, or {FILE_NAME}"
_CORRECT_ROUTES: Final = "correct each problem; it is listed with its line and column"
_DEFERRED: Final = Selection(states=frozenset({State.RELEASED, State.UNCERTAIN}))
_WAITING: Final = Selection(states=frozenset({State.WAITING}))
_MAX_DEFERRED: Final = 1_000
_NOT_SAID: Final = "the journal does not say which routes.yaml the app runs"
_PAUSES: Final = (0.0, 0.5, 1.0, 2.0)
_NEEDS_SETTINGS: Final = "needs valid settings"

APP: Final = "app"
RESUME: Final = "resume"
_QUEUE_ADVICE: Final = "check the setting RESUME_STORAGE, and the role Storage Queue Data Contributor on its account"
_NO_RESUME_ADVICE: Final = (
    "see 'manage.py journal', and correct what is not temporary. Event Grid has no event that was acknowledged while "
    "RESUME_STORAGE was set: redrive it with "
    "'manage.py redrive --all --state released --state uncertain --state claimed'"
)

T = TypeVar("T")


def examine(
    installation: Installation, url: str, key: str, function: str, usual_url: str = DEFAULT_URL
) -> Iterator[CheckResult]:
    """Perform all checks.

    :param url: the address of the app. If empty, ``usual_url`` is used, and its absence is not a failure.
    :raises CommandFailed: the address or the key is invalid.
    """
    target = webhook(url or usual_url, function, checked_key(key or _key_in_environment(installation)))
    settings = yield from _settings(installation)
    routes = yield from _routes_and_journal(installation)
    issued = yield from _credential(settings)
    yield _waits(settings)
    yield from _azure_devops(settings, issued, routes)
    endpoint = _endpoint(target, is_named=bool(url))
    yield endpoint
    yield CheckResult(APP, *_app(installation, settings, endpoint.status, has_routes=routes is not None))


def examine_deployed(installation: Installation, proof: Iterator[CheckResult]) -> Iterator[CheckResult]:
    """Perform the checks of a deployed app. Those of this machine's credential for Azure DevOps would tell nothing.

    :param proof: the results for the app in Azure.
    """
    words = "those that the journal and the routes need"
    settings = yield from _read_settings(lambda: installation.settings, words)
    if settings is not None:
        yield from _routes(installation)
    may_read = False
    for result in proof:
        may_read = may_read or (result.check, result.status) == (JOURNAL, Status.OK)
        yield result
    if settings is not None and may_read:
        yield from _deferred(settings)
        if settings.has_resume:
            yield from _resume(installation)


def _tried(
    check: str, attempt: Callable[[], T], found: Callable[[T], str], otherwise: str
) -> Generator[CheckResult, None, T | None]:
    """Yield the result of one check; return what the attempt returned, or None if it failed.

    :param found: describes what the attempt returned.
    :param otherwise: the next step if the attempt fails and the error contains none.
    """
    try:
        result = attempt()
        yield CheckResult(check, Status.OK, found(result))
    except (NextstageError, CommandFailed) as exc:
        yield failed(check, exc, otherwise)
        return None
    return result


def _settings(installation: Installation) -> Generator[CheckResult, None, Settings | None]:
    has_file = (installation.app_dir / FILE_NAME).exists()
    places = "the environment" + (f", then from {FILE_NAME}" if has_file else "")

    def load() -> Settings:
        return load_settings(installation.environment, installation.app_dir)

    return (yield from _read_settings(load, f"read from {places}"))


def _read_settings(load: Callable[[], Settings], words: str) -> Generator[CheckResult, None, Settings | None]:
    settings = yield from _tried("settings", load, lambda _: words, _CORRECT_SETTINGS)
    if settings is not None:
        for message in misspelled(settings.environment, settings.routes_file):
            what, _, advice = message.rpartition("; ")
            yield CheckResult("settings", Status.WARNING, what, advice)
    return settings


def _routes_and_journal(installation: Installation) -> Generator[CheckResult, None, Sequence[Route] | None]:
    try:
        settings = installation.settings
    except (ConfigurationError, CommandFailed):
        yield from (CheckResult(check, Status.SKIPPED, _NEEDS_SETTINGS) for check in ("routes", JOURNAL))
        return None
    routes = yield from _routes(installation)
    connection = settings.journal_connection
    probe = yield from _tried(
        JOURNAL,
        lambda: backend_of(connection).probe(connection, identity_factory(settings)),
        lambda probe: f"{installation.journal_name}: {probe.done}",
        "check the setting JOURNAL_CONNECTION",
    )
    if probe is not None:
        yield clock_check("the journal", probe.clock_offset)
        if installation.has_journal:
            yield from _deferred(settings)
            yield from _resume(installation)
    return None if routes is None else routes.routes


def _routes(installation: Installation) -> Generator[CheckResult, None, RouteTable | None]:
    name = installation.settings.routes_file.name

    def read() -> RouteTable:
        installation.check_start()
        return installation.configuration.routes

    return (
        yield from _tried(
            "routes",
            read,
            lambda routes: f"{name}: {table_words(routes)}",
            _CORRECT_ROUTES,
        )
    )


def _deferred(settings: Settings) -> Iterator[CheckResult]:
    """Warn if records wait for their next delivery. The reason of the latest one tells what is wrong at the moment.

    Also count the events that are gathered now.
    """
    try:
        with closing(open_store(settings)) as store:
            waiting = list(store.select(_DEFERRED, _MAX_DEFERRED))
            gathering = [one for one in store.select(_WAITING, _MAX_DEFERRED) if is_group(one.key)]
    except NextstageError as exc:
        yield failed("deferred", exc, "check the setting JOURNAL_CONNECTION")
        return
    if waiting:
        latest = max(waiting, key=lambda record: record.changed_at)
        more = " or more" if len(waiting) == _MAX_DEFERRED else ""
        if settings.has_resume:
            what, advice = "will be tried again", "see 'manage.py resume', and correct what is not temporary"
        else:
            what, advice = "waits" if len(waiting) == 1 else "wait", _NO_RESUME_ADVICE
            what += " for another delivery"
        words = f"{counted(len(waiting), 'record')}{more} {what}; the latest reason: {latest.reason}"
        yield CheckResult("deferred", Status.WARNING, words, advice)
    if gathering:
        events = sum(one.gathered.events for one in gathering if one.gathered is not None)
        words = f"{counted(events, 'event')} in {counted(len(gathering), 'group')} wait for one run per group"
        yield CheckResult("gathered", Status.OK, f"{words}; see 'manage.py resume'")


def _resume(installation: Installation) -> Iterator[CheckResult]:
    """Check that the queue of what is deferred answers, and that no message was set aside."""
    if not installation.settings.has_resume:
        yield CheckResult(
            RESUME, Status.SKIPPED, "RESUME_STORAGE is not set: only Event Grid tries deferred events again"
        )
        return
    try:
        queue = installation.due_queue()
        waiting = 0 if queue is None else sum(1 for _ in queue.due(_MAX_DEFERRED))
        poison = installation.poison_queue
        number = 0 if poison is None else poison.count()
    except NextstageError as exc:
        yield failed(RESUME, exc, _QUEUE_ADVICE)
        return
    if number:
        words = f"{counted(number, 'message')} could not be handled"
        yield CheckResult(RESUME, Status.WARNING, words, "see 'manage.py resume --poison'")
    else:
        more = " or more" if waiting == _MAX_DEFERRED else ""
        yield CheckResult(RESUME, Status.OK, f"the queue answers, and shows {counted(waiting, 'message')}{more}")


def _credential(settings: Settings | None) -> Generator[CheckResult, None, Credential | None]:
    """Get the app's credential for Azure DevOps; None if there is none."""
    if settings is None:
        yield from (CheckResult(check, Status.SKIPPED, _NEEDS_SETTINGS) for check in ("secret", "token"))
        return None
    if settings.auth == "identity":
        yield CheckResult("secret", Status.SKIPPED, "AZURE_DEVOPS_AUTH is 'identity', which needs no secret")
        return (yield from _issued(settings, "token", "Microsoft Entra issued a token for Azure DevOps"))
    if (settings.pat() or "").strip().lower().startswith(_KEY_VAULT_REFERENCE):
        what = "AZURE_DEVOPS_EXT_PAT is an unresolved Key Vault reference, not a PAT"
        advice = "give the app's identity the role Key Vault Secrets User; outside Azure, set the PAT itself"
        yield CheckResult("secret", Status.FAILED, what, advice)
        issued = None
    else:
        where = "AZURE_DEVOPS_EXT_PAT" if settings.pat() else f"{settings.pat_secret_name} in {settings.key_vault_url}"
        issued = yield from _issued(settings, "secret", f"the PAT was read from {where}")
    yield CheckResult("token", Status.SKIPPED, "AZURE_DEVOPS_AUTH is 'pat', which needs no token")
    return issued


def _issued(settings: Settings, check: str, words: str) -> Generator[CheckResult, None, Credential | None]:
    issued = credential(settings)
    is_there = yield from _tried(check, issued.authorization, lambda _: words, _CORRECT_SETTINGS)
    return issued if is_there else None


def _waits(settings: Settings | None) -> CheckResult:
    """Check that the token of a waiting task can be encrypted and decrypted."""
    if settings is None or not settings.has_waits:
        why = _NEEDS_SETTINGS if settings is None else "no key for tokens is set, so tasks cannot wait"
        return CheckResult("waits", Status.SKIPPED, why)
    seal = TokenSeal(partial(wait_keys, settings))
    where = "WAIT_TOKEN_KEYS" if settings.wait_token_keys else f"{settings.wait_keys_secret_name} in the Key Vault"
    words = f"a token was encrypted and decrypted with the keys in {where}"
    return next(_tried("waits", lambda: seal.token_of(_sealed(seal)), lambda _: words, _CORRECT_SETTINGS))


def _sealed(seal: TokenSeal) -> Wait:
    wait = Wait(Task(*[""] * 7), "run", None, utc_now(), "", proven=False)
    return replace(wait, sealed=seal.seal(wait, Secret("a-token")))


def _azure_devops(
    settings: Settings | None, issued: Credential | None, routes: Sequence[Route] | None
) -> Iterator[CheckResult]:
    enabled = [route for route in routes or [] if route.enabled]
    if routes is None:
        yield CheckResult(PROJECT, Status.SKIPPED, "needs valid routes")
    elif settings is None or issued is None:
        yield CheckResult(PROJECT, Status.SKIPPED, "needs a credential")
    elif not enabled:
        yield CheckResult(PROJECT, Status.SKIPPED, "no route is enabled")
    else:
        with closing(RequestsTransport(1)) as transport:
            client = PipelinesClient(issued, transport, api_version=settings.api_version)
            yield from check_azure_devops(client, enabled)


def _endpoint(target: Webhook, *, is_named: bool) -> CheckResult:
    try:
        target.shake_hands()
    except HostUnreachable as exc:
        if not is_named:
            why = f"no app runs at {target.url}; use --url for a deployed app"
            return CheckResult("Event Grid", Status.SKIPPED, why)
        advice = "check --url, and that the app is running and can be reached from here"
        return CheckResult("Event Grid", Status.FAILED, str(exc), advice)
    except HandshakeFailed as exc:
        return failed("Event Grid", exc, "check --url and --function")
    words = f"{target.url} accepts events for {target.function}: the handshakes of both schemas succeed"
    return CheckResult("Event Grid", Status.OK, words)


def _app(
    installation: Installation, settings: Settings | None, endpoint: Status, *, has_routes: bool
) -> tuple[Status, str, str | None]:
    """Compare the routes.yaml that the app runs with the one here. An app that was just woken needs a moment."""
    if settings is None or not has_routes:
        return Status.SKIPPED, _NEEDS_SETTINGS if settings is None else "needs valid routes", None
    backend = backend_of(settings.journal_connection)
    if endpoint is Status.SKIPPED and backend.problem_in_azure(settings.journal_connection) is not None:
        return Status.SKIPPED, "no app runs here", None
    if not installation.has_journal:
        return Status.SKIPPED, _NOT_SAID, None
    running, what = None, ""
    for pause in _PAUSES if endpoint is Status.OK else _PAUSES[:1]:
        time.sleep(pause)
        try:
            with closing(open_store_to_read(settings)) as store:
                running = running_routes(Journal(store))
        except NextstageError:
            return Status.SKIPPED, "needs the journal, which says which routes.yaml the app runs", None
        what = difference(installation, running)
        if running is not None and not what:
            words = table_words(installation.configuration.routes)
            return Status.OK, f"the app runs this {settings.routes_file.name} ({words})", None
    return (Status.WARNING, what, ADVICE) if what else (Status.SKIPPED, _NOT_SAID, None)


def _key_in_environment(installation: Installation) -> str:
    try:
        return installation.environment.get(KEY_VARIABLE, "")
    except CommandFailed:  # the check of the settings reports that local.settings.json is invalid
        return installation.environ.get(KEY_VARIABLE, "")
