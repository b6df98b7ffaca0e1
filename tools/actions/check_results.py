"""The results of the doctor's checks."""

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """The status of a check. A check is skipped if it does not apply or cannot be performed."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one check.

    :param check: what was checked: settings, journal, pipeline, …
    :param detail: what was found, with one line for each of several problems.
    :param next_step: what to do if the check failed.
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
