"""Whatever the app logs arrives, also from its own threads. Both lists, of lines and of threads, come from the code."""

import ast
import importlib
import json
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from threading import Event
from types import ModuleType
from typing import Any, ClassVar, NoReturn

import pytest
from werkzeug.test import Client

from devstack.host import Host
from shared.errors import JournalUnavailable, ResumeUnavailable
from shared.journal.records import JournalKey
from shared.logs import MAX_KEPT, NEXT_INVOCATION, Lines, Logger, logger
from shared.notifications.notification import Notification
from shared.notifications.notifier import Notifier
from shared.resume.sqlite_queue import Taken
from shared.resume.thread import ResumeThread
from shared.telemetry import LOGGER_NAME, Decision, Outcome, log_decision
from shared.waits.endpoint import Endpoint
from shared.waits.fairness.sharing import Workers
from shared.waits.request import WaitRequest
from tests.support import ROOT
from tests.support.polling import wait_until
from tests.support.services.host_apps import exported_log, import_app
from tests.support.waits import PLAN_URLS, a_task, default_headers

APP = [ROOT / "function_app.py", *sorted((ROOT / "handlers").rglob("*.py")), *sorted((ROOT / "shared").rglob("*.py"))]
LEVELS = ("debug", "info", "warning", "error", "exception", "critical", "log")


@dataclass(frozen=True)
class Said:
    """A line of the code that logs."""

    module: str
    number: int
    level: str
    template: str

    @property
    def log(self) -> Logger:
        found = importlib.import_module(self.module)._log
        assert isinstance(found, Logger)
        return found

    def say(self) -> None:
        getattr(self.log, self.level)(self.template, *self.arguments)

    @property
    def arguments(self) -> list[object]:
        kinds = {"s": "text", "d": 7, "g": 1.5}
        return [kinds[kind] for kind in re.findall(r"%(\w)", self.template)]

    @property
    def record(self) -> tuple[str, str, str]:
        """The logger, the level and the message."""
        return self.log.logger.name, self.level.upper(), self.template % tuple(self.arguments)


def said_in(path: Path) -> Iterator[Said]:
    """Yield the calls of ``_log`` in a file, apart from that in ``log_decision``, whose level is not fixed."""
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id="_log"), attr=str(level)), args=[ast.Constant(value=str(text)), *_]
            ) if level in LEVELS:
                yield Said(module, node.lineno, level, text)


def names_in(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.alias(name=name):
                yield name


THREADS = {"Thread", "Timer", "ThreadPoolExecutor", "ProcessPoolExecutor", "to_thread", "run_in_executor"}
LINES = [said for path in APP for said in said_in(path)]
DECISIONS = [Decision("id", "type", "subject", None, outcome) for outcome in Outcome]


class TestTheCode:
    def test_every_line_is_in_the_list(self) -> None:
        for path in APP:
            calls = len(re.findall(rf"\b_log\.(?:{'|'.join(LEVELS)})\(", path.read_text(encoding="utf-8")))
            is_telemetry = path.name == "telemetry.py"
            assert len(list(said_in(path))) == calls - is_telemetry, f"{path}: a message must be a literal"
        assert len(LINES) > 20

    def test_every_logger_keeps_what_is_said_on_own_threads(self) -> None:
        for path in APP:
            text = path.read_text(encoding="utf-8")
            assert not re.search(r"^\w+ = logging\.getLogger", text, re.MULTILINE), f"{path}: use shared.logs.logger"
            assert not re.search(r"\blogging\.(info|warning|error|critical|exception)\(", text), path

    def test_every_own_thread_is_in_the_walk(self) -> None:
        starts = {str(path.relative_to(ROOT)) for path in APP if THREADS & set(names_in(path))}
        assert starts == {
            "shared/composition.py",  # see TestTheRoutesOfTheApp in test_composition.py
            "shared/notifications/notifier.py",
            "shared/resume/thread.py",
            "shared/waits/endpoint.py",
            "shared/waits/fairness/sharing.py",
        }


SPEAKER = """
say = []

@app.event_grid_trigger(arg_name="event")
def speak(event: str) -> None:
    for each in say:
        each()
"""


class Registration:
    """A registration that says something on the thread of the endpoint, and then fails."""

    def __init__(self, say: Any) -> None:
        self._say = say

    def register(
        self, request: WaitRequest, deadline: datetime, after_answer: Callable[[Callable[[], None]], None]
    ) -> None:
        self._say(after_answer)
        raise JournalUnavailable("the journal does not answer, says the test")


def register(say: Any) -> None:
    endpoint = Endpoint(Registration(lambda _: say()), PLAN_URLS, threads=1)  # type: ignore[arg-type]
    assert endpoint.answer(default_headers(a_task()), b'{"run_id": "run-1"}').status == 503


def after_answer(say: Any) -> None:
    """Say something on the thread of the endpoint after its answer, and then decide about an event."""
    done = Event()

    def later(act: Callable[[Callable[[], None]], None]) -> None:
        act(say)
        act(done.set)

    endpoint = Endpoint(Registration(later), PLAN_URLS, threads=1)  # type: ignore[arg-type]
    assert endpoint.answer(default_headers(a_task()), b'{"run_id": "run-1"}').status == 503
    assert done.wait(60)
    log_decision(Decision("event-1", "type", "subject", "route", Outcome.IGNORED))


def notify(say: Any) -> None:
    """Say something on the thread of the notifier, and then decide about another event."""
    done = Event()

    def publish(notifications: Sequence[Notification]) -> None:
        say()
        done.set()

    notifier = Notifier(publish, source="/nextstage/app")
    notifier(Decision("event-1", "type", "subject", "route", Outcome.QUEUED, key="aa", run_id=1))
    assert done.wait(60)
    notifier.close()
    log_decision(Decision("event-2", "type", "subject", "route", Outcome.IGNORED))


def work(say: Any) -> None:
    """Say something on a thread of the workers, and then decide about an event."""
    assert list(Workers(2).each(lambda act: act(), [say, list])) != []
    log_decision(Decision("event-1", "type", "subject", "route", Outcome.IGNORED))


def resume(say: Any) -> None:
    """Say something on the thread of a message that is due, and then decide about an event."""

    class Messages:
        """One message, and what takes it up."""

        left: ClassVar = [Taken("1.1", JournalKey("train", "aa"))]

        def take(self) -> Taken | None:
            return self.left.pop() if self.left else None

        def go_on(self, key: JournalKey, ticket: str) -> None:
            assert (ticket, key) == ("1.1", ("train", "aa"))
            say()

    messages: Any = Messages()
    thread = ResumeThread(lambda: (messages, messages), look_every_seconds=0)
    wait_until(lambda: not messages.left)
    thread.stop()
    log_decision(Decision("event-1", "type", "subject", "route", Outcome.IGNORED))


def look(say: Any) -> None:
    """Say something on the thread that looks for what is due, and then decide about an event."""
    done, stopping = Event(), Event()

    def start() -> NoReturn:
        if not done.is_set():
            say()
        done.set()
        stopping.wait(60)
        raise ResumeUnavailable("the queue does not answer, says the test")

    thread = ResumeThread(start, look_every_seconds=0)
    assert done.wait(60)
    stopping.set()
    thread.stop()
    said = [line for line in NEXT_INVOCATION.drop() if "says the test" not in str(line)]
    for line in said:
        NEXT_INVOCATION.keep(line)
    log_decision(Decision("event-1", "type", "subject", "route", Outcome.IGNORED))


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    return import_app(tmp_path_factory.mktemp("app"), SPEAKER)


@pytest.fixture(scope="module")
def host(module: ModuleType) -> Iterator[Host]:
    host = Host(module, threads=1)
    yield host
    host.close()


PLACES = {
    "delivery": lambda say: say(),
    "registration": register,
    "after the answer": after_answer,
    "notifier": notify,
    "workers": work,
    "resume": resume,
    "resume, looking": look,
}


@pytest.mark.parametrize("place", PLACES)
class TestInTheHost:
    def test_every_line_arrives(self, host: Host, module: ModuleType, place: str) -> None:
        records = self._exported(host, module, place, [said.say for said in LINES])
        arrived = [(record.name, record.levelname, record.getMessage()) for record in records]
        assert [record for record in arrived if record[0] != LOGGER_NAME] == [said.record for said in LINES]

    def test_every_decision_arrives(self, host: Host, module: ModuleType, place: str) -> None:
        says = [lambda decision=decision: log_decision(decision) for decision in DECISIONS]
        decisions = [json.loads(record.getMessage()) for record in self._exported(host, module, place, says)]
        assert [decision["outcome"] for decision in decisions if decision["event_id"] == "id"] == list(Outcome)

    @staticmethod
    def _exported(host: Host, module: ModuleType, place: str, says: list[Any]) -> list[logging.LogRecord]:
        """Say everything in one invocation, and return what the host hears."""
        module.say[:] = [lambda: PLACES[place](lambda: [say() for say in says])]
        with exported_log() as records:
            response = Client(host).post(
                "/runtime/webhooks/eventgrid?functionName=speak",
                headers={"aeg-event-type": "Notification"},
                data=b"{}",
            )
        assert response.status_code == 202
        return records


class TestLines:
    def test_they_are_said_in_order_by_their_loggers(self, caplog: pytest.LogCaptureFixture) -> None:
        lines = Lines()
        with lines.keeping():
            logger("nextstage.one").warning("first %d", 1)
            logger("nextstage.two").error("second")
        assert caplog.records == []
        lines.log()
        lines.log()
        assert [(record.name, record.levelname, record.getMessage()) for record in caplog.records] == [
            ("nextstage.one", "WARNING", "first 1"),
            ("nextstage.two", "ERROR", "second"),
        ]

    def test_what_comes_too_late_is_said_by_the_next_invocation(self, caplog: pytest.LogCaptureFixture) -> None:
        lines = Lines(NEXT_INVOCATION)
        lines.log()
        with lines.keeping():
            logger("nextstage.one").warning("late")
        assert caplog.messages == []
        logger("nextstage.two").warning("the next invocation")
        assert caplog.messages == ["late", "the next invocation"]

    def test_their_number_is_limited(self, caplog: pytest.LogCaptureFixture) -> None:
        lines = Lines()
        with lines.keeping():
            for number in range(MAX_KEPT + 5):
                logger("nextstage.one").warning("%d", number)
        lines.log()
        assert caplog.messages == [str(number) for number in range(5, MAX_KEPT + 5)]

    def test_a_logger_says_nothing_below_its_level(self, caplog: pytest.LogCaptureFixture) -> None:
        quiet = logger("nextstage.quiet")
        assert isinstance(quiet, Logger)
        quiet.logger.setLevel("ERROR")
        lines = Lines()
        with lines.keeping():
            quiet.warning("kept, and dropped later")
        lines.log()
        quiet.warning("dropped at once")
        assert caplog.messages == []
