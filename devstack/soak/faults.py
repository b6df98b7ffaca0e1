"""The faults of the soak test: every kind of answer that Azure DevOps may give, and lost answers."""

from collections.abc import Mapping
from typing import Any, Final

_SIGN_IN: Final = "<!DOCTYPE html><html><title>Sign in</title></html>"
_PAUSE: Final = {"Retry-After": "0.3"}

# All delays are short, to fit many of them into the test. "queued late" must take less than JOURNAL_SETTLE_SECONDS,
# and "queued, answer too late" longer than the client waits.
FAULTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "queued, answer dropped": {"accept": True, "drop": True},
    "queued, 500": {"accept": True, "status": 500, "body": {"message": "soak"}},
    "queued, unreadable 200": {"accept": True, "status": 200, "body": "{ cut off"},
    "queued, answer too late": {"accept": True, "delay_after_seconds": 4},
    "queued late": {"accept": True, "delay_before_seconds": 1},
    "queued, asks for a pause": {"accept": True, "headers": _PAUSE},
    "dropped": {"accept": False, "drop": True},
    "500": {"accept": False, "status": 500, "body": {"message": "soak"}},
    "502 with an HTML page": {"accept": False, "status": 502, "body": _SIGN_IN},
    "503 without a pause": {"accept": False, "status": 503, "body": {"message": "soak"}},
    "503 with a pause": {"accept": False, "status": 503, "headers": _PAUSE, "body": {"message": "soak"}},
    "queued, 503 with a pause": {"accept": True, "status": 503, "headers": _PAUSE, "body": {"message": "soak"}},
    "queued, 200 with an HTML page": {"accept": True, "status": 200, "body": _SIGN_IN},
    "queued, redirect to a proxy": {"accept": True, "status": 302, "headers": {"Location": "https://proxy.invalid/"}},
    "429": {"accept": False, "status": 429, "headers": _PAUSE, "body": {"message": "soak"}},
    "sign-in page": {"accept": False, "status": 203, "body": _SIGN_IN},
    "401": {"accept": False, "status": 401, "body": {"message": "soak"}},
    "403": {"accept": False, "status": 403, "body": {"message": "soak"}},
    "refused permanently": {"accept": False, "status": 400, "body": {"message": "soak"}},
}
