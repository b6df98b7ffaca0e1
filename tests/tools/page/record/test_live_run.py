"""The state of a run in Azure DevOps, asked by pages that are loaded again and again."""

import threading
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import cast

from shared.azure_devops.reconcile import Build
from shared.azure_devops.runs import Run, RunRequest
from shared.errors import AzureDevOpsError, CredentialRejected, InvalidSettings, RequestNotSent
from shared.queueing.pipelines import Pipelines
from tests.support.fakes import Queued
from tools.page.record.live_run import LiveRun, LiveRuns

REQUEST = RunRequest("https://dev.azure.com/contoso", "mlops", 11)
LISTED = Queued(Run(7, ""), REQUEST, datetime(2026, 11, 20, tzinfo=UTC)).listed(is_canceled=False)


@dataclass
class Server:
    """A client of Azure DevOps that gives one answer, when it may."""

    answer: Build | AzureDevOpsError | None
    may_answer: threading.Event = field(default_factory=threading.Event)
    asked: list[int] = field(default_factory=list)

    def build(self, request: RunRequest, run_id: int, deadline: datetime) -> Build | None:
        self.asked.append(run_id)
        assert self.may_answer.wait(60)
        if isinstance(self.answer, AzureDevOpsError):
            raise self.answer
        return self.answer


@dataclass
class Desk:
    """Questions to a server at times that the test chooses.

    :param patience: for how long a question waits in real time, which no answer needs.
    """

    server: Server
    patience: float = 60.0
    now: float = 1000.0
    runs: LiveRuns = field(init=False)

    def __post_init__(self) -> None:
        self.server.may_answer.set()
        client = cast("Pipelines", self.server)
        self.runs = LiveRuns(lambda: client, wait_seconds=self.patience, clock=lambda: self.now)

    def ask(self, run_id: int = 7) -> LiveRun:
        return self.runs.state(REQUEST, run_id)


def test_an_answer_is_kept_for_some_seconds() -> None:
    desk = Desk(Server(replace(LISTED, status="inProgress")))
    assert desk.ask() == LiveRun("inProgress")
    desk.server.answer = replace(LISTED, status="completed", result="failed")
    desk.now += 9
    assert (desk.ask().words, desk.server.asked) == ("in progress", [7])
    desk.now += 2
    assert (desk.ask().words, desk.server.asked) == ("failed", [7, 7])
    desk.ask(8)
    assert desk.server.asked == [7, 7, 8]


def test_a_page_does_not_wait_for_an_answer_that_does_not_come() -> None:
    server = Server(replace(LISTED, status="completed", result="partiallySucceeded"))
    desk = Desk(server, patience=0.0)
    server.may_answer.clear()
    assert [desk.ask().why_unknown[:31] for _ in range(3)] == ["Azure DevOps has not answered y"] * 3
    server.may_answer.set()
    desk.runs._questions[REQUEST.organization_url, REQUEST.project, 7].is_answered.wait(60)
    assert (desk.ask().words, server.asked) == ("partially succeeded", [7]), "one request, and its answer is found"


def test_a_question_without_an_answer_is_repeated_only_after_a_minute() -> None:
    """Otherwise, a page that is refreshed would start one thread after the other."""
    desk, questions = Desk(Server(None), patience=0.0), list[object]()
    desk.server.may_answer.clear()
    for _ in range(3):
        desk.ask()
        questions += desk.runs._questions.values()
        desk.now += 31
    desk.server.may_answer.set()
    assert [each is questions[0] for each in questions] == [True, True, False]


def test_failures_say_what_to_do() -> None:
    expected = {
        RequestNotSent(
            "no connection"
        ): "no connection; check AZURE_DEVOPS_ORG_URL and the network: DNS, proxy, firewall",
        CredentialRejected("HTTP 401: renew the PAT"): "HTTP 401: renew the PAT",
    }
    for error, words in expected.items():
        assert Desk(Server(error)).ask() == LiveRun(why_unknown=words)
    gone = "project mlops has no run 7: it was deleted, or its retention has ended"
    assert Desk(Server(None)).ask() == LiveRun(why_unknown=gone)


def test_without_a_credential() -> None:
    made = []

    def client() -> Pipelines:
        made.append(1)
        raise InvalidSettings(
            "the application settings are wrong, so the app does not start:\n  no PAT is configured; set it (sig=1234)"
        )

    now = [0.0]
    runs = LiveRuns(client, wait_seconds=60, clock=lambda: now[0])
    assert runs.state(REQUEST, 7) == LiveRun(why_unknown="no PAT is configured; set it (sig=***")
    now[0] += 11
    runs.state(REQUEST, 7)
    assert len(made) == 2, "the settings may be right now"
