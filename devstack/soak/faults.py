"""What goes wrong in the soak: everything that Azure DevOps may answer, and answers that are lost."""

from collections.abc import Mapping
from typing import Any, Final

_SIGN_IN: Final = "<!DOCTYPE html><html><title>Sign in</title></html>"

# Waits are short, so that there is time for many of them: a pause of a third of a second, a request that is late by
# one second (which must be less than SETTLE_SECONDS), an answer that comes later than anybody waits.
FAULTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "queued, answer dropped": {"accept": True, "drop": True},
    "queued, 500": {"accept": True, "status": 500, "body": {"message": "soak"}},
    "queued, unreadable 200": {"accept": True, "status": 200, "body": "{ cut off"},
    "queued, answer too late": {"accept": True, "delay_after_seconds": 4},
    "queued late": {"accept": True, "delay_before_seconds": 1},
    "queued, pause wanted": {"accept": True, "headers": {"X-RateLimit-Delay": "0.3"}},
    "dropped": {"accept": False, "drop": True},
    "500": {"accept": False, "status": 500, "body": {"message": "soak"}},
    "502 with a page": {"accept": False, "status": 502, "body": _SIGN_IN},
    "503 without a pause": {"accept": False, "status": 503, "body": {"message": "soak"}},
    "503 with a pause": {
        "accept": False,
        "status": 503,
        "headers": {"Retry-After": "0.3"},
        "body": {"message": "soak"},
    },
    "429": {"accept": False, "status": 429, "headers": {"Retry-After": "0.3"}, "body": {"message": "soak"}},
    "sign-in page": {"accept": False, "status": 203, "body": _SIGN_IN},
    "401": {"accept": False, "status": 401, "body": {"message": "soak"}},
    "403": {"accept": False, "status": 403, "body": {"message": "soak"}},
    "refused for good": {"accept": False, "status": 400, "body": {"message": "soak"}},
}
