"""The results of the doctor's checks."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

from shared.http.clock_offset import NOTABLE_OFFSET, offset_words
from tools.console import Console
from tools.presentation import counted, summary

JOURNAL: Final = "journal"

_WIDTHS: Final = (7, 12)
"""Of a status and of the name of a check."""


class Status(StrEnum):
    """The status of a check. A check is skipped if it does not apply or cannot be performed.

    After a warning, the app works, but something is probably wrong.
    """

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one check.

    :param check: what was checked: settings, journal, pipeline, …
    :param detail: what was found, with one line for each of several problems.
    :param next_step: what to do after a failure or a warning.
    """

    check: str
    status: Status
    detail: str
    next_step: str | None = None


def failed(check: str, error: Exception, otherwise: str, subject: str = "") -> CheckResult:
    """Return the result of a check that failed with an error: what happened, and what to do next.

    A message of nextstage contains both, separated by a semicolon, or is a heading with one line for each problem.

    :param otherwise: the next step if the message contains none.
    :param subject: what was checked; the detail begins with it.
    """
    first, *problems = [line.strip() for line in str(error).splitlines()]
    what, _, advice = ("", "", "") if problems else first.rpartition("; ")
    detail = "\n".join(problems) or what or first
    return CheckResult(check, Status.FAILED, subject + detail, advice if what else otherwise)


def clock_check(server: str, offset: timedelta) -> CheckResult:
    """Return the result for a server's clock.

    :param offset: how far it is ahead of this machine's.
    """
    words = f"{server}: {offset_words(offset)} this machine's clock"
    if abs(offset) <= NOTABLE_OFFSET:
        return CheckResult("clock", Status.OK, words)
    return CheckResult("clock", Status.WARNING, words, "check the time synchronization of this machine")


def show_results(console: Console, results: Iterable[CheckResult], *, as_json: bool = False) -> bool:
    """Print each result as soon as it is known, and then a summary. Return whether no check failed.

    :param as_json: print all of them as a JSON document in the end.
    """
    shown = []
    for result in results:
        shown.append(result)
        if not as_json:
            _show(console, result)
    if as_json:
        console.json([asdict(result) for result in shown])
    else:
        console.line(summary(counted(len(shown), "check"), (result.status for result in shown)))
    return all(result.status is not Status.FAILED for result in shown)


def _show(console: Console, result: CheckResult) -> None:
    first, *others = result.detail.splitlines()
    console.row((result.status, result.check, first), _WIDTHS)
    for line in others:
        console.row(("", "", line), _WIDTHS)
    if result.next_step:
        console.row(("", "", f"next: {result.next_step}"), _WIDTHS)
