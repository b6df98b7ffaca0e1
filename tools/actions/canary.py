"""Proves that a deployed app works: sends it a test event, finds what the app wrote down, and looks at Azure's side.

The test event goes through the app's own Event Grid endpoint, with the system key, as Event Grid's events do. The app
queues nothing for it; see shared/proof.py. The key is never shown or logged.
"""

import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

from shared.clock import utc_now
from shared.credentials import Secret
from shared.errors import ConfigurationError, JournalUnavailable, UnreadableRecord
from shared.events.event import CANARY_TYPE
from shared.http.environment import is_loopback
from shared.journal.backends import backend_of
from shared.proof import Proof, find_proof
from shared.version import VERSION
from tools.actions.check_results import JOURNAL, CheckResult, Status, failed
from tools.actions.running_app import table_words
from tools.azure.connecting import Pauses
from tools.azure.deployment import Deployment
from tools.azure.deployment_checks import check_app, check_function, check_key, check_routes, check_subscriptions
from tools.azure.function_app import Site
from tools.azure.resource_manager import ResourceManager
from tools.errors import CommandFailed
from tools.events.documents import Document, renewed
from tools.events.webhook import KEY_VARIABLE, HostUnreachable, Webhook, webhook
from tools.installation import Installation

EVENT: Final = "test event"
APP: Final = "app"

_PAUSES_SECONDS: Final = (2.0, 5.0, 10.0, 20.0, 30.0)
"""Between the attempts to send the test event. The first ones wake the app; a new key or role may need longer."""

_ACCEPTED: Final = frozenset({200, 202})
_TRY_AGAIN: Final = frozenset({401, 404, 408, 429, 500, 502, 503, 504})
_OUTSIDE: Final = frozenset({0, 403})
_REDIRECTS: Final = range(300, 400)
_LOOKS: Final = 2

_SEE_START_ERRORS: Final = "see nextstage-no-functions in docs/operating.md"
_IT_DOES_NOT_START: Final = ("the app does not start, or is overloaded", f"try again, and {_SEE_START_ERRORS}")
_LATER: Final = "try again in some minutes, which a new key or role takes"
_REFUSALS: Final[Mapping[int, tuple[str, str]]] = {
    401: ("the app rejects its system key", f"{_LATER}; if it stays so, restart the app"),
    403: (
        "it does not admit this machine, is stopped, or got another key than its system key",
        f"look at the app's access restrictions, try from a network that they admit, and check {KEY_VARIABLE}",
    ),
    404: ("the app has not loaded the function", f"{_SEE_START_ERRORS}"),
    500: ("the function failed", f"{_LATER}; the app's log names the reason, often its journal"),
    **dict.fromkeys((502, 503, 504), _IT_DOES_NOT_START),
    **dict.fromkeys(
        _REDIRECTS, ("a redirect", "let App Service authentication and proxies pass on /runtime/webhooks to the app")
    ),
}
"""What an answer means, and what to do."""

_ACKNOWLEDGED: Final = (
    "the app acknowledged the test event, which this version does only after it has written to its journal"
)
_READ_THE_JOURNAL: Final = (
    "reading it needs the role Storage Table Data Reader or Contributor on its storage account, and a way through the "
    "account's firewall: set NEXTSTAGE_OPERATOR_PRINCIPAL_ID and run 'azd provision'"
)
_OTHER_JOURNAL: Final = (
    "compare JOURNAL_CONNECTION with the app's setting of this name; if they are the same, deploy this version: "
    "'azd deploy'"
)
_DEPLOY: Final = "deploy what is here: 'azd deploy'; or check out what is deployed"


def prove(
    installation: Installation, manager: ResourceManager, deployment: Deployment, pauses: Pauses
) -> Iterator[CheckResult]:
    """Test a deployed app from end to end. Nothing is queued.

    :param installation: the journal and the routes.yaml to compare with those of the app.
    :raises CommandFailed: the address or the key is invalid.
    """
    site = yield from check_app(manager, deployment)
    key = deployment.key
    if site is not None:
        yield check_function(manager, deployment)
        key = key or (yield from check_key(manager, deployment, pauses))
    yield from _endpoint(installation, deployment, site, key, pauses)
    yield from check_subscriptions(manager, deployment, installation.clock())
    with suppress(ConfigurationError, CommandFailed):  # the check of the routes has said so
        yield from check_routes(deployment.plan, installation.configuration.routes.routes)


def _endpoint(
    installation: Installation, deployment: Deployment, site: Site | None, key: Secret | None, pauses: Pauses
) -> Iterator[CheckResult]:
    url = deployment.url or (site.url if site is not None else "")
    if site is not None and not site.runs:
        yield CheckResult(EVENT, Status.SKIPPED, "needs an app that runs")
    elif not url or key is None:
        yield CheckResult(EVENT, Status.SKIPPED, f"needs {'the system key' if url else 'the address of the app'}")
    elif deployment.key is None and site is not None and not site.may_have_key(url):
        what = f"{url} is not an address of {deployment.app.name}, so it does not get the app's key"
        advice = "leave out --url and NEXTSTAGE_URL, or give the key in EVENTGRID_EXTENSION_KEY"
        yield CheckResult(EVENT, Status.FAILED, what, advice)
    else:
        target = webhook(url, deployment.function, key.value)
        yield from _test_event(installation, target, pauses, is_private=deployment.is_private)


def _test_event(
    installation: Installation, target: Webhook, pauses: Pauses, *, is_private: bool
) -> Iterator[CheckResult]:
    status, note = 0, None
    for _ in range(_LOOKS):  # two test events may share a place in the journal
        event = _canary()
        status, text = _sent(target, event, pauses)
        if status not in _ACCEPTED:
            yield _outside(status, text) if is_private and status in _OUTSIDE else _not_accepted(target, status, text)
            return
        note = _note(installation, target, str(event["id"]))
        if note is not None:
            break
    yield CheckResult(EVENT, Status.OK, f"{target.url} acknowledged it (HTTP {status})")
    if isinstance(note, CheckResult):
        yield note
    else:
        yield from _compared(installation, note)


def _canary() -> Document:
    event = {"topic": "/nextstage", "eventType": CANARY_TYPE, "subject": "doctor --deployed", "data": {}}
    return renewed({**event, "dataVersion": "1", "metadataVersion": "1"}, str(uuid.uuid4()), utc_now())


def _sent(target: Webhook, event: Document, pauses: Pauses) -> tuple[int, str]:
    """Send an event until it is accepted, or another attempt would not help.

    Return the last status and text; 0 and the reason if there was no answer.
    """
    status, text = 0, ""
    for attempt, seconds in enumerate((0.0, *_PAUSES_SECONDS)):
        if seconds:
            why = f"{target.url} answered HTTP {status}" if status else text
            pauses.say(f"{why}; trying again ({attempt} of {len(_PAUSES_SECONDS)})")
            pauses.pause(seconds)
        try:
            status, text = target.notify(event, attempt)
        except HostUnreachable as exc:
            status, text = 0, str(exc)
        if status and status not in _TRY_AGAIN:
            break
    return status, text


def _outside(status: int, text: str) -> CheckResult:
    """Return the result if a private network does not admit this machine, as it should be."""
    what = f"the private network does not admit this machine ({text or f'HTTP {status}'}), so nothing was tested"
    return CheckResult(EVENT, Status.WARNING, what, "run './manage.py doctor --deployed' on a machine that it admits")


def _not_accepted(target: Webhook, status: int, text: str) -> CheckResult:
    if not status:
        advice = "check the address, and the network: DNS, proxy, firewall, private endpoint; or the app hangs"
        return CheckResult(EVENT, Status.FAILED, text, advice)
    meaning, advice = _REFUSALS.get(status, ("", "check that this is the function app"))
    what = ": ".join(filter(None, (f"{target.url} answered HTTP {status}", meaning, text)))
    return CheckResult(EVENT, Status.FAILED, what, advice)


def _note(installation: Installation, target: Webhook, event_id: str) -> Proof | CheckResult | None:
    """Return what the app has written down; None if nothing; or why that cannot be known."""
    try:
        connection = installation.settings.journal_connection
        problem = backend_of(connection).problem_in_azure(connection)
        if problem is not None and not is_loopback(urlsplit(target.url).hostname or ""):
            what = f"JOURNAL_CONNECTION {problem.rpartition('; ')[0] or problem}, so it is not the app's journal"
            advice = "set JOURNAL_CONNECTION as 'azd env get-value JOURNAL_CONNECTION' shows it"
            return CheckResult(JOURNAL, Status.WARNING, f"{what}; {_ACKNOWLEDGED}", advice)
        return find_proof(installation.journal, event_id)
    except ConfigurationError as exc:
        return CheckResult(JOURNAL, Status.SKIPPED, f"needs valid settings\n{exc}\n{_ACKNOWLEDGED}")
    except (JournalUnavailable, CommandFailed) as exc:
        result = failed(JOURNAL, exc, _OTHER_JOURNAL)
        has_own_advice = isinstance(exc, CommandFailed | UnreadableRecord)
        next_step = result.next_step if has_own_advice else _READ_THE_JOURNAL
        return CheckResult(JOURNAL, Status.WARNING, f"{result.detail}\n{_ACKNOWLEDGED}", next_step)


def _compared(installation: Installation, note: Proof | None) -> Iterator[CheckResult]:
    if note is None:
        what = f"the app acknowledged the test event, but wrote nothing into the journal {installation.journal_name}"
        causes = "it works with another journal, or its version knows no test events"
        yield CheckResult(JOURNAL, Status.FAILED, f"{what}: {causes}", _OTHER_JOURNAL)
        return
    instance = f" (instance {note.instance[:12]})" if note.instance else ""
    yield CheckResult(JOURNAL, Status.OK, f"{installation.journal_name}: the app wrote down the test event{instance}")
    if note.version != VERSION:
        what = f"the app runs version {note.version}, and this is version {VERSION}"
        yield CheckResult(APP, Status.WARNING, what, _DEPLOY)
    try:
        routes = installation.configuration.routes
    except (ConfigurationError, CommandFailed):
        yield CheckResult(APP, Status.SKIPPED, f"needs valid routes; the app's have the digest {note.routes}")
        return
    file = installation.settings.routes_file.name
    if note.routes != routes.digest:
        what = f"the app runs another {file} (digest {note.routes}) than this one ({table_words(routes)})"
        yield CheckResult(APP, Status.WARNING, what, _DEPLOY)
    elif note.version == VERSION:
        yield CheckResult(APP, Status.OK, f"the app runs version {VERSION} and this {file} ({table_words(routes)})")
