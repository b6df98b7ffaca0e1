"""The doctor's round: tries one thing after the other, and goes on as far as what failed allows."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Final

from shared.azure_devops.client import PipelinesClient
from shared.composition import credential, identity_factory, wait_keys
from shared.credentials import Credential, Secret
from shared.errors import ConfigurationError, CredentialUnavailable, JournalError
from shared.http.transport import RequestsTransport
from shared.journal.backends import backend_of
from shared.routing.table import Route
from shared.settings import Settings, load_settings
from shared.waits.tokens import TokenSeal
from tools.actions.azure_devops_checks import PROJECT, AzureDevOpsChecks
from tools.actions.check_results import CheckResult, split_advice
from tools.errors import CommandFailed
from tools.events.reach import checked_key
from tools.events.webhook import DEFAULT_URL, KEY_VARIABLE, HandshakeFailed, HostUnreachable, Webhook, webhook
from tools.installation import Installation
from tools.local_settings import FILE_NAME
from tools.wording import counted

_KEY_VAULT_REFERENCE: Final = "@microsoft.keyvault("
_CORRECT_SETTINGS: Final = f"correct the application settings, or {FILE_NAME}"
_SETTINGS_FIRST: Final = "the settings first"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the app's Event Grid endpoint is said to be.

    :param url: empty where nobody has said; then the usual one is tried, and its absence is no failure.
    """

    url: str
    key: str
    function: str
    usual_url: str = DEFAULT_URL


def examine(installation: Installation, endpoint: Endpoint) -> Iterator[CheckResult]:
    """Try everything.

    :raises CommandFailed: the endpoint's address or key cannot be one.
    """
    key = endpoint.key or _key_in_environment(installation)
    target = webhook(endpoint.url or endpoint.usual_url, endpoint.function, checked_key(key))
    settings = yield from _settings(installation)
    routes = yield from _routes(installation)
    yield _journal(installation)
    issued = yield from _credential(settings)
    yield _waits(settings)
    yield from _azure_devops(issued, routes)
    yield _endpoint(target, is_named=bool(endpoint.url))


def _settings(installation: Installation) -> Generator[CheckResult, None, Settings | None]:
    try:
        settings = load_settings(installation.environment, installation.app_dir)
    except (ConfigurationError, CommandFailed) as exc:
        yield CheckResult.failed("settings", _problems(exc), _CORRECT_SETTINGS)
        return None
    places = "the environment"
    if (installation.app_dir / FILE_NAME).exists():
        places += f", and below it {FILE_NAME}"
    yield CheckResult.ok("settings", f"read from {places}")
    return settings


def _routes(installation: Installation) -> Generator[CheckResult, None, Sequence[Route] | None]:
    if not _is_usable(installation):
        yield CheckResult.skipped("routes", _SETTINGS_FIRST)
        return None
    try:
        routes = installation.configuration.routes.routes
    except ConfigurationError as exc:
        yield CheckResult.failed(
            "routes", _problems(exc), "correct the file; each problem is named with its line and column"
        )
        return None
    name = installation.settings.routes_file.name
    yield CheckResult.ok("routes", f"{name}: {counted(len(routes), 'route')}")
    return routes


def _journal(installation: Installation) -> CheckResult:
    if not _is_usable(installation):
        return CheckResult.skipped("journal", _SETTINGS_FIRST)
    settings = installation.settings
    try:
        connection = settings.journal_connection
        done = backend_of(connection).probe(connection, identity_factory(settings))
    except JournalError as exc:
        return CheckResult.failed("journal", *split_advice(exc, "check the setting JOURNAL_CONNECTION"))
    return CheckResult.ok("journal", f"{installation.journal_name}: {done}")


def _credential(settings: Settings | None) -> Generator[CheckResult, None, Credential | None]:
    """What the app would prove itself to Azure DevOps with; None where there is nothing."""
    if settings is None:
        yield CheckResult.skipped("secret", _SETTINGS_FIRST)
        yield CheckResult.skipped("token", _SETTINGS_FIRST)
        return None
    if settings.auth == "identity":
        yield CheckResult.skipped("secret", "AZURE_DEVOPS_AUTH is 'identity', which needs none")
        result, issued = _issued(settings, "token", "Microsoft Entra gives a token for Azure DevOps")
        yield result
        return issued
    if (settings.pat() or "").strip().lower().startswith(_KEY_VAULT_REFERENCE):
        what = "AZURE_DEVOPS_EXT_PAT is a Key Vault reference that nobody has resolved, not a token"
        advice = "give the app's identity the role Key Vault Secrets User, or outside of Azure set the token itself"
        result, issued = CheckResult.failed("secret", what, advice), None
    else:
        where = "AZURE_DEVOPS_EXT_PAT" if settings.pat() else f"{settings.pat_secret_name} in {settings.key_vault_url}"
        result, issued = _issued(settings, "secret", f"the PAT was read from {where}")
    yield result
    yield CheckResult.skipped("token", "AZURE_DEVOPS_AUTH is 'pat', which needs none")
    return issued


def _issued(settings: Settings, check: str, words: str) -> tuple[CheckResult, Credential | None]:
    issued = credential(settings)
    try:
        issued.authorization()
    except CredentialUnavailable as exc:
        return CheckResult.failed(check, *split_advice(exc, _CORRECT_SETTINGS)), None
    return CheckResult.ok(check, words), issued


def _waits(settings: Settings | None) -> CheckResult:
    """Whether a waiting task's token can be kept."""
    if settings is None:
        return CheckResult.skipped("waits", _SETTINGS_FIRST)
    if not settings.has_waits:
        return CheckResult.skipped("waits", "no key for tokens is set, so no task may wait")
    seal = TokenSeal(partial(wait_keys, settings))
    try:
        seal.open(seal.close(Secret("a token")))
    except CredentialUnavailable as exc:
        return CheckResult.failed("waits", *split_advice(exc, _CORRECT_SETTINGS))
    where = "WAIT_TOKEN_KEYS" if settings.wait_token_keys else f"{settings.wait_keys_secret_name} in the Key Vault"
    return CheckResult.ok("waits", f"a token was encrypted and decrypted with the keys in {where}")


def _azure_devops(issued: Credential | None, routes: Sequence[Route] | None) -> Iterator[CheckResult]:
    if routes is None or issued is None:
        yield CheckResult.skipped(
            PROJECT, "the routes first" if routes is None else "without a credential nobody is let in"
        )
        return
    enabled = [route for route in routes if route.enabled]
    if not enabled:
        yield CheckResult.skipped(PROJECT, "no route is enabled")
        return
    with closing(RequestsTransport(1)) as transport:
        yield from AzureDevOpsChecks(PipelinesClient(issued, transport)).results(enabled)


def _endpoint(target: Webhook, *, is_named: bool) -> CheckResult:
    try:
        target.shake_hands()
    except HostUnreachable as exc:
        if not is_named:
            return CheckResult.skipped("Event Grid", f"no app runs at {target.url}; --url names a deployed one")
        advice = "check --url; is the app started, and may it be reached from here?"
        return CheckResult.failed("Event Grid", str(exc), advice)
    except HandshakeFailed as exc:
        return CheckResult.failed("Event Grid", *split_advice(exc, "check --url and --function"))
    return CheckResult.ok(
        "Event Grid", f"{target.url} takes events for {target.function}: both schemas' handshakes succeed"
    )


def _key_in_environment(installation: Installation) -> str:
    try:
        return installation.environment.get(KEY_VARIABLE, "")
    except CommandFailed:  # said already: local.settings.json is broken
        return installation.environ.get(KEY_VARIABLE, "")


def _is_usable(installation: Installation) -> bool:
    """Whether the settings will do for what needs no credential."""
    try:
        return bool(installation.settings)
    except (ConfigurationError, CommandFailed):
        return False


def _problems(exc: Exception) -> str:
    """All that is wrong, each on a line of its own, without the heading."""
    first, *others = [line.strip() for line in str(exc).splitlines()]
    return "\n".join(others or [first])
