"""What the service may do in more than one way, or does at some times and not at others: switches of the emulator.

``POST /_emulator/behavior`` changes the switches, a planned fault changes them for the requests that it applies to.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from devstack.ado.schemas import problems

if TYPE_CHECKING:
    from collections.abc import Mapping

Idempotency = Literal["honored", "ignored"]
ParameterForm = Literal["sent", "reformatted", "null"]

_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)?")


class BehaviorError(ValueError):
    """A change of the behavior is invalid. The message names the switch and the reason."""


@dataclass(frozen=True, kw_only=True)
class Behavior:
    """The switches. All except ``clock_offset_seconds`` take effect when a run is queued, and stay in effect for it.

    - ``idempotency``: whether the GUID in ``X-VSS-E2EID`` becomes the ID of the run's orchestration. If it does, a
      second run request with the same GUID is refused. Code of Azure DevOps Server 2022 does so; whether the service
      does is not known. If "ignored", the ID is random.
    - ``parameters``: how builds show the values of template parameters: as they were sent; as .NET formats date-times,
      booleans and JSON; or not at all.
    - ``list_lag_seconds``: the time in which lists of builds do not contain a new run.
    - ``start_after_seconds``: the time until an agent takes a queued run.
    - ``clock_offset_seconds``: how far the service's clock is ahead.
    """

    idempotency: Idempotency = "ignored"
    parameters: ParameterForm = "sent"
    list_lag_seconds: float = 0
    start_after_seconds: float = 5
    clock_offset_seconds: float = 0

    def changed(self, document: object) -> Behavior:
        """Return a behavior with the switches in a JSON object changed.

        :raises BehaviorError: with all problems of the object.
        """
        if found := problems("behavior", document):
            raise BehaviorError("\n".join(found))
        changes: Any = document
        return replace(self, **changes)


def shown_parameters(values: Mapping[str, str], form: ParameterForm) -> dict[str, str] | None:
    """Return template parameters as builds show them."""
    if form == "null":
        return None
    return {name: _reformatted(value) if form == "reformatted" else value for name, value in values.items()}


def _reformatted(value: str) -> str:
    """Return a value as .NET formats what Newtonsoft.Json reads from it."""
    if value.lower() in {"true", "false"}:
        return value.capitalize()
    with suppress(ValueError):
        if _DATE_TIME.fullmatch(value):
            moment = datetime.fromisoformat(value)
            return f"{moment.astimezone(UTC) if moment.tzinfo else moment:%m/%d/%Y %H:%M:%S}"
        if value.lstrip().startswith(("{", "[")):
            return json.dumps(json.loads(value), indent=2, ensure_ascii=False)
    return value
