"""The results of the doctor: one for each thing that was tried."""

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """How it went: a check is skipped if it does not apply, or cannot be tried."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One thing that was tried.

    :param check: what was looked at: settings, journal, pipeline, …
    :param detail: what was found; several things are on a line each.
    :param next_step: what to do if it failed.
    """

    check: str
    status: Status
    detail: str
    next_step: str | None = None


def failed(check: str, error: Exception, otherwise: str, subject: str = "") -> CheckResult:
    """Return the result of a check that an error ended: what happened, and what to do.

    Our messages say both, with a semicolon between, or are a heading with a line for each problem.

    :param otherwise: what to do if the message does not say.
    :param subject: what the check was about, with which the detail begins.
    """
    first, *problems = [line.strip() for line in str(error).splitlines()]
    what, _, advice = ("", "", "") if problems else first.rpartition("; ")
    detail = "\n".join(problems) or what or first
    return CheckResult(check, Status.FAILED, subject + detail, advice if what else otherwise)
