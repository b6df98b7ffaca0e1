"""Transports that answer for Azure Resource Manager, and for Azure DevOps' tasks; and an identity to sign in with."""

import json
import time
from itertools import count

from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError

from shared.credentials import Credential, Issued, Secret
from shared.http.message import HttpRequest, HttpResponse
from shared.http.sending import Sender
from shared.http.throttle import ThrottleGate
from shared.waits.aml import AmlRuns
from tests.support.builders import WORKSPACE
from tests.support.canaries import secret
from tests.support.clock import ManualClock

MANAGER = "https://management.example"


class Identity:
    """An identity that is signed in, unless ``error`` says why not."""

    def __init__(self, token: str, error: str = "") -> None:
        self.token = token
        self.error = error
        self.scopes: list[str] = []

    def get_token(self, *scopes: str, **options: object) -> AccessToken:
        """Return the token, which is valid for an hour.

        :raises ClientAuthenticationError: there is none.
        """
        self.scopes += scopes
        if self.error:
            raise ClientAuthenticationError(self.error)
        return AccessToken(self.token, int(time.time()) + 3600)


class Azure:
    """A transport for Azure DevOps and Azure Resource Manager. Every run is running, and every call succeeds."""

    def __init__(self) -> None:
        self.asked_with: list[str] = []
        self.completed: list[tuple[str, object]] = []

    def __call__(self, request: HttpRequest, authorization: str, timeout_seconds: float) -> HttpResponse:
        if request.url.startswith(MANAGER):
            self.asked_with.append(authorization)
            return HttpResponse(200, {}, b'{"properties": {"status": "Running"}}')
        if "/events?" in request.url:
            self.completed.append((authorization, json.loads(request.body or b"")["result"]))
        return HttpResponse(200, {}, b'{"id": 7}')


class ManagementPlane:
    """A transport for Azure Resource Manager that knows the statuses of runs and records the requests."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.takes = 0.0
        """How many seconds an answer takes."""
        self.statuses: dict[str, str] = {}
        self.asked: list[str] = []
        self.given: list[float] = []
        """How many seconds each request may take."""
        self.headers: dict[str, str] = {}
        self.answer: HttpResponse | Exception | None = None
        self.expired: set[str] = set()

    def __call__(self, request: HttpRequest, authorization: str, timeout_seconds: float) -> HttpResponse:
        self.asked.append(request.url)
        self.given.append(timeout_seconds)
        self.headers = request.headers(authorization)
        self.clock.advance(self.takes)
        if authorization in self.expired:
            return HttpResponse(401, {}, b"")
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.answer is not None:
            return self.answer
        run_id = request.url.rpartition("/")[2].partition("?")[0]
        if run_id not in self.statuses:
            return HttpResponse(404, {}, b'{"error": {"code": "UserError"}}')
        return HttpResponse(200, {}, b'{"properties": {"status": "%s"}}' % self.statuses[run_id].encode())


def aml_runs(azure: ManagementPlane, workspace: str = WORKSPACE) -> AmlRuns:
    numbers, clock = count(1), azure.clock
    credential = Credential(lambda: Issued(Secret(f"Bearer {secret('manager')}-{next(numbers)}")), clock)
    sender = Sender(azure, ThrottleGate(clock), clock=clock, sleep=lambda _: None)
    return AmlRuns("https://management.azure.com", workspace, sender, credential)
