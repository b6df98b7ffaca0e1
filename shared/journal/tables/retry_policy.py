"""The time limits, retries and final error messages of the journal's calls to Azure Table storage.

One call of the store takes at most 8 s, unless the server answers byte by byte. Each request may take 2 s to connect
and 4 s to be answered, and is sent up to 3 times. A delivery has 25 s. The time that Microsoft Entra takes to issue a
token is not included.
"""

import time
from collections.abc import Callable
from typing import Final, TypeVar

from shared.errors import JournalUnavailable
from shared.journal.tables.client import NoAnswer, Refused

CALL_SECONDS: Final = 8.0
PAUSES_SECONDS: Final = (0.2, 1.0)
MIN_REQUEST_SECONDS: Final = 0.5

_NO_ACCESS: Final = (
    "check the account key, or that the app's identity has the role Storage Table Data Contributor, and the storage "
    "account's firewall"
)
_OTHER_ADVICE: Final = "check the setting JOURNAL_CONNECTION"
_ADVICE: Final = {
    "TableBeingDeleted": "the table was deleted and can be created again about a minute later",
    "": _NO_ACCESS,
    "AuthenticationFailed": _NO_ACCESS,
    "InvalidAuthenticationInfo": _NO_ACCESS,
    "NoAuthenticationInformation": _NO_ACCESS,
    "AuthorizationFailure": _NO_ACCESS,
    "AuthorizationPermissionMismatch": _NO_ACCESS,
    "KeyBasedAuthenticationNotPermitted": _NO_ACCESS,
}

_Answer = TypeVar("_Answer")


class Call:
    """One call of the store: a few requests within one time limit."""

    def __init__(self, endpoint: str) -> None:
        """:param endpoint: the URL of the service, for messages."""
        self._endpoint = endpoint
        self._ends_at = time.monotonic() + CALL_SECONDS
        self.lost_an_answer = False
        """An answer was lost, so what is stored now may come from this call."""

    def ask(self, request: Callable[[float], _Answer]) -> _Answer:
        """Send a request. If there is no answer, send it again a moment later.

        :param request: called with the number of seconds that it may take.
        :raises Refused: the service refused the operation.
        :raises JournalUnavailable: no attempt was answered.
        """
        pauses = iter(PAUSES_SECONDS)
        while True:
            try:
                return request(self._seconds_left())
            except NoAnswer as exc:
                self.lost_an_answer = True
                pause = next(pauses, None)
                if pause is None or self._seconds_left() < pause + MIN_REQUEST_SECONDS:
                    raise JournalUnavailable(
                        f"the journal at {self._endpoint} does not answer: {exc}; check that the storage account "
                        "exists and can be reached from here"
                    ) from exc
            time.sleep(pause)

    def check_time(self) -> None:
        """:raises JournalUnavailable: the time is over, although every request was answered."""
        if time.monotonic() > self._ends_at:
            raise JournalUnavailable(
                f"the journal at {self._endpoint} has more records than can be read in {CALL_SECONDS:g} s; try again, "
                "and purge old records"
            )

    def unavailable(self, refusal: Refused) -> JournalUnavailable:
        """Return the error to raise for a refusal that is neither a conflict nor a missing entity."""
        code = f" ({refusal.code})" if refusal.code else ""
        advice = _ADVICE.get(refusal.code, _OTHER_ADVICE)
        return JournalUnavailable(f"the journal at {self._endpoint} refuses{code}: {refusal}; {advice}")

    def _seconds_left(self) -> float:
        return max(self._ends_at - time.monotonic(), MIN_REQUEST_SECONDS)
