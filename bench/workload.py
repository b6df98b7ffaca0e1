"""What every row delivers: the same kind of event, through the whole app or bare."""

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
# Of the emulator's model-evaluation; by its id, so that a delivery is one request from the first one on.
PIPELINE_ID: Final = 11
TIMEOUT_SECONDS: Final = 15.0
RUN_ID_PLACE: Final = b'"id": 0'

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
    """The routes.yaml that comes with the app, with run tags off."""
    text = (_ROOT / "routes.yaml").read_text(encoding="utf-8")
    return text.replace("    pipeline: ", "    tags: false\n    pipeline: ")


def environment(organization_url: str, journal: str, routes_file: Path) -> dict[str, str]:
    """The application settings: PAT from the environment."""
    return {
        "AZURE_DEVOPS_ORG_URL": organization_url,
        "AZURE_DEVOPS_PROJECT": PROJECT,
        "AZURE_DEVOPS_AUTH": "pat",
        "AZURE_DEVOPS_EXT_PAT": PAT,
        "JOURNAL_CONNECTION": journal,
        "ROUTES_FILE": str(routes_file),
    }


def sqlite_in(folder: Path) -> str:
    """A journal in a fresh file."""
    return f"sqlite:{folder / f'journal-{uuid.uuid4().hex}.sqlite3'}"


def composed(
    folder: Path,
    organization_url: str,
    journal: str,
    *,
    transport: Transport | None = None,
    store: Store | None = None,
    routes: str = ROUTES,
) -> App:
    """The app, put together as function_app.py does it.

    :param store: instead of the one that ``journal`` names.
    """
    routes_file = folder / "routes.yaml"
    routes_file.write_text(routes, encoding="utf-8")
    configuration = load_configuration(environment(organization_url, journal, routes_file), folder, NAMES)
    return compose(configuration, DISPATCH, transport=transport, store=store)


class Deliveries:
    """Delivers one event after the other to an app, each another run. Safe for many threads."""

    def __init__(self, app: App, ready: int = 0) -> None:
        """:param ready: events made ahead, so that their making is not measured."""
        self.app = app
        self._numbers = count(ready)
        self._ready = deque(map(event_text, range(ready)))

    def __call__(self) -> None:
        """:raises DeliveryDeferred: which no measurement expects."""
        try:
            text = self._ready.popleft()
        except IndexError:
            text = event_text(next(self._numbers))
        self.app.relay.deliver(text)


class BarePost:
    """The same request as the app's, with ``requests.Session().post``, on a session as warm as the app's pool."""

    def __init__(self, app: App, connections: int = 1, adapter: BaseAdapter | None = None) -> None:
        """:param adapter: instead of a pool of connections."""
        request = wanted_request(app)
        self.url = request.url
        self.body = request.body
        self.headers = {"Authorization": pat_authorization(PAT).value, "Content-Type": request.content_type}
        self.session = requests.Session()
        self.session.mount("http://", adapter or HTTPAdapter(pool_maxsize=connections))

    def __call__(self) -> requests.Response:
        """Post once.

        :raises RuntimeError: no run was queued.
        """
        answer = self.session.post(self.url, data=self.body, headers=self.headers, timeout=TIMEOUT_SECONDS)
        if answer.status_code != HTTPStatus.OK:
            raise RuntimeError(f"the emulator answered {answer.status_code}: {answer.text[:200]}")
        return answer


def wanted_request(app: App) -> HttpRequest:
    """The HTTP request that the app sends for an event."""
    (decided,) = app.relay.decide(event_text(0)).decisions
    if not isinstance(decided, Match):
        raise TypeError(f"the route refuses its own event: {decided.reason}")
    return run_pipeline(decided.request, PIPELINE_ID)


class AnswersInMemory:
    """A transport that answers at once, without a network."""

    def __init__(self, answer: bytes) -> None:
        """:param answer: the body, with a 0 where the run's id goes."""
        self._before, self._after = answer.split(RUN_ID_PLACE, 1)
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
        """The next answer's body."""
        return b'%b"id": %d%b' % (self._before, next(self._run_ids), self._after)
