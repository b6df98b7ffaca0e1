"""The results of the doctor: one for each thing that was tried."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self


class Status(StrEnum):
    """How it went."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One thing that was tried.

    :param check: what was looked at: settings, journal, pipeline, …
    :param detail: what was found; several things are on a line each.
    :param next_step: what to do where it failed.
    """

    check: str
    status: Status
    detail: str
    next_step: str = ""

    @classmethod
    def ok(cls, check: str, detail: str) -> Self:
        """It went well."""
        return cls(check, Status.OK, detail)

    @classmethod
    def failed(cls, check: str, detail: str, next_step: str) -> Self:
        """It went wrong."""
        return cls(check, Status.FAILED, detail, next_step)

    @classmethod
    def skipped(cls, check: str, why: str) -> Self:
        """It does not apply, or cannot be tried."""
        return cls(check, Status.SKIPPED, why)

    @property
    def is_ok(self) -> bool:
        """Whether it went well."""
        return self.status is Status.OK

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "check": self.check,
            "status": self.status.value,
            "detail": self.detail,
            "next_step": self.next_step or None,
        }


def split_advice(error: Exception, otherwise: str) -> tuple[str, str]:
    """What happened, and what to do: our messages say both, with a semicolon between.

    :param otherwise: what to do where the message does not say.
    """
    words = "; ".join(line.strip() for line in str(error).splitlines())
    what, _, advice = words.rpartition("; ")
    return (what, advice) if what else (words, otherwise)
