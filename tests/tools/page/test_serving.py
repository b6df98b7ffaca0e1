"""The server ends in order, whatever ends it."""

import signal
from collections.abc import Iterator
from types import FrameType

import pytest
from flask import Flask

from tools.page.serving import listen, serve


@pytest.fixture(autouse=True)
def _unharmed() -> Iterator[None]:
    """Let a signal that the server does not handle fail the test, not end the process."""

    def fail(number: int, _frame: FrameType | None) -> None:
        pytest.fail(f"{signal.Signals(number).name} would have ended the process at once")

    before = {number: signal.signal(number, fail) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_in_order(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with listen(0) as listener:
        serve(Flask(__name__), listener, lambda: signal.raise_signal(number))
    assert signal.getsignal(number) is before


def test_it_goes_on_when_its_terminal_is_closed_if_nohup_says_so() -> None:
    reached: list[str] = []

    def ready() -> None:
        signal.raise_signal(signal.SIGHUP)
        reached.append("goes on")
        signal.raise_signal(signal.SIGTERM)

    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with listen(0) as listener:
        serve(Flask(__name__), listener, ready)
    assert reached == ["goes on"]
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
