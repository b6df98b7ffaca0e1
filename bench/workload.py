"""The work that the rows compare: delivering an event with the app, or sending only its HTTP request."""

import uuid
from collections import deque
from http import HTTPStatus
from itertools import count
from pathlib import Path
from typing import Final

import requests
from requests.adapters import BaseAdapter, HTTPAdapter

from bench.programs.events import event_text
from handlers import DISPATCH, NAMES
from shared.azure_devops.runs import run_pipeline
from shared.composition import App, compose, load_configuration
from shared.credentials import pat_authorization
from shared.http.message import HttpRequest, HttpResponse
from shared.http.transport import Transport
from shared.journal.records import Store
from shared.routing.table import Match

PAT: Final = "devstack-pat"
PROJECT: Final = "mlops"
# The emulator's pipeline model-evaluation. By id, because a name would cost the first delivery a second request.
PIPELINE_ID: Final = 11
TIMEOUT_SECONDS: Final = 15.0
RUN_ID_PLACEHOLDER: Final = b'"id": 0'

ROUTE: Final = "evaluate-after-training"
ROUTES: Final = f"""\
version: 1
defaults: {{organization_url: "${{AZURE_DEVOPS_ORG_URL}}", project: "${{AZURE_DEVOPS_PROJECT}}", branch: main}}
routes:
  - name: {ROUTE}
    event: RunCompleted
    when: experiment_name == 'train'
    pipeline: {PIPELINE_ID}
    tags: false
    parameters:
      runId: "{{{{ run_id }}}}"
      experimentName: "{{{{ experiment_name }}}}"
"""

_ROOT: Final = Path(__file__).parent.parent


def shipped_routes_without_tags() -> str:
    """Return the project's routes.yaml with run tags off."""
    text = (_ROOT / "routes.yaml").read_text(encoding="utf-8")
    return text.replace("    pipeline: ", "    tags: false\n    pipeline: ")


def environment(organization_url: str, journal: str, routes_file: Path) -> dict[str, str]:
    """Return the application settings, with the PAT in the environment."""
    return {
        "AZURE_DEVOPS_ORG_URL": organization_url,
        "AZURE_DEVOPS_PROJECT": PROJECT,
        "AZURE_DEVOPS_AUTH": "pat",
        "AZURE_DEVOPS_EXT_PAT": PAT,
        "JOURNAL_CONNECTION": journal,
        "ROUTES_FILE": str(routes_file),
    }


def new_sqlite_journal(folder: Path) -> str:
    """Return the connection of a journal in a new file."""
    return f"sqlite:{folder / f'journal-{uuid.uuid4().hex}.sqlite3'}"


def compose_app(
    folder: Path,
    organization_url: str,
    journal: str,
    *,
    transport: Transport | None = None,
    store: Store | None = None,
    routes: str = ROUTES,
) -> App:
    """Compose the app as function_app.py does.

    :param store: a store to use instead of the one that ``journal`` names.
    """
    routes_file = folder / "routes.yaml"
    routes_file.write_text(routes, encoding="utf-8")
    configuration = load_configuration(environment(organization_url, journal, routes_file), folder, NAMES)
    return compose(configuration, DISPATCH, transport=transport, store=store)


class Deliveries:
    """A callable that delivers the next event to the app, each of a different run. Thread-safe."""

    def __init__(self, app: App, ready: int = 0) -> None:
        """Prepare events.

        :param ready: number of events to create now, to keep their creation out of the measurement.
        """
        self.app = app
        self._numbers = count(ready)
        self._ready = deque(map(event_text, range(ready)))

    def __call__(self) -> None:
        """Deliver one event.

        :raises DeliveryDeferred: if the app defers it, which makes a measurement invalid.
        """
        try:
            text = self._ready.popleft()
        except IndexError:
            text = event_text(next(self._numbers))
        self.app.relay.deliver(text)


class BarePost:
    """A callable that sends the same request as the app with ``requests.Session().post``, over pooled connections."""

    def __init__(self, app: App, connections: int = 1, adapter: BaseAdapter | None = None) -> None:
        """Prepare the request.

        :param connections: size of the pool of connections.
        :param adapter: an adapter to use instead of the pool.
        """
        request = app_request(app)
        self.url = request.url
        self.body = request.body
        self.headers = {"Authorization": pat_authorization(PAT).value, "Content-Type": request.content_type}
        self.session = requests.Session()
        self.session.mount("http://", adapter or HTTPAdapter(pool_maxsize=connections))

    def __call__(self) -> requests.Response:
        """Send the request once.

        :raises RuntimeError: if no run was queued.
        """
        answer = self.session.post(self.url, data=self.body, headers=self.headers, timeout=TIMEOUT_SECONDS)
        if answer.status_code != HTTPStatus.OK:
            raise RuntimeError(f"the emulator answered {answer.status_code}: {answer.text[:200]}")
        return answer


def app_request(app: App) -> HttpRequest:
    """Return the HTTP request that the app sends for an event."""
    (decided,) = app.relay.decide(event_text(0)).decisions
    if not isinstance(decided, Match):
        raise TypeError(f"the benchmark's route does not match the benchmark's event: {decided.reason}")
    return run_pipeline(decided.request, PIPELINE_ID)


class AnswersInMemory:
    """A transport that answers immediately, without a network."""

    def __init__(self, answer: bytes) -> None:
        """Prepare the answer.

        :param answer: the body, with 0 as the id of the run.
        """
        self._before, self._after = answer.split(RUN_ID_PLACEHOLDER, 1)
        self._run_ids = count(1)

    def __call__(
        self,
        request: HttpRequest,  # noqa: ARG002
        authorization: str,  # noqa: ARG002
        timeout_seconds: float,  # noqa: ARG002
    ) -> HttpResponse:
        """See ``shared.http.transport.Transport``."""
        return HttpResponse(200, {"content-type": "application/json; charset=utf-8"}, self.body())

    def body(self) -> bytes:
        """Return the body of the next answer, with a new run id."""
        return b'%b"id": %d%b' % (self._before, next(self._run_ids), self._after)
