"""RunStatusChanged: the status of a run has changed.

Events with a status that is not final are ignored. Model monitoring (v2) reports drift with this event type: the step
that finds a breached threshold tags its own run. The event is therefore usually about a child run.
"""

from collections.abc import Mapping
from typing import Any, Final

from shared.events.event import AmlEvent, Ignored, Occurrence, RunEnd
from shared.events.event_type import EventType, Name, Names, Sample
from shared.events.keys import look_up
from shared.events.runs import (
    MONITOR_BREACH_TAG,
    RUN_NAMES,
    STATUSES,
    family,
    final_status,
    sample_run,
)


def _meaning(event: AmlEvent, names: Names) -> Occurrence | Ignored:
    final = final_status(names["run_status"])
    if final is None:
        return Ignored(
            f"run {names['run_id']} is {names['run_status']}, which is not final; "
            "another event will report the final status"
        )
    message = _breach_message(names["run_tags"])
    root_run_id, is_child_run = family(names)
    run = names | {
        "root_run_id": root_run_id,
        "run_status": final,
        "monitor_threshold_breached": message is not None,
        "monitor_message": message,
    }
    return Occurrence(
        identity=f"{run['run_id']}:{final}",
        names=run,
        # The step that reports a breach is a child run, but routes must not miss it.
        is_child_run=is_child_run and message is None,
        run_end=RunEnd(event.source, run["run_id"], final),
    )


def _breach_message(tags: Mapping[str, Any]) -> str | None:
    """Return the monitor's message about the breach, or None if there is no breach."""
    message = look_up(tags, MONITOR_BREACH_TAG)
    return str(message) if message and str(message).strip().lower() not in {"false", "none", "null"} else None


def _sample(number: int) -> Sample:
    subject, data = sample_run(number)
    return subject, {**data, "runStatus": "Failed"}


EVENT_TYPE: Final = EventType(
    "RunStatusChanged",
    names={
        **RUN_NAMES,
        "run_status": Name("string", "runStatus", one_of=STATUSES),
        "monitor_threshold_breached": Name("boolean"),
        "monitor_message": Name("string", may_be_null=True),
    },
    identified_by="run id and status; an event with a status that is not final is ignored",
    meaning=_meaning,
    sample=_sample,
)
