"""The results of the doctor's checks."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from shared.http.clock_offset import NOTABLE_OFFSET, offset_words


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
