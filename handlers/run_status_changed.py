"""RunStatusChanged: a run has another status than before.

Only final statuses count; the others announce that more is to come. Model monitoring (v2) tells drift this way:
the step that finds a breached threshold tags its own run, so a breach is most often told by a child run.
"""

from collections.abc import Mapping
from typing import Any, Final

from shared.events.event import AmlEvent, Ignored, Occurrence, RunEnd
from shared.events.event_type import EventType, Name, Names, Sample
from shared.events.runs import (
    MONITOR_BREACH_TAG,
    RUN_NAMES,
    STATUSES,
    final_status,
    is_child_run,
    root_run_id,
    sample_run,
)


def _meaning(event: AmlEvent, names: Names) -> Occurrence | Ignored:
    final = final_status(names["run_status"])
    if final is None:
        return Ignored(
            f"run {names['run_id']} is {names['run_status']}, which is not final; its final status is another event"
        )
    message = _breach_message(names["run_tags"])
    run = names | {
        "root_run_id": root_run_id(names),
        "run_status": final,
        "monitor_threshold_breached": message is not None,
        "monitor_message": message,
    }
    return Occurrence(
        identity=f"{run['run_id']}:{final}",
        names=run,
        # A monitor's breach is told by a step of the monitor's run: to leave children out would lose it.
        is_child_run=is_child_run(run) and message is None,
        run_end=RunEnd(event.source, run["run_id"], final),
    )


def _breach_message(tags: Mapping[str, Any]) -> str | None:
    """Return what the monitor says of the breach, or None if there is none."""
    for name, value in tags.items():
        if name.lower() == MONITOR_BREACH_TAG and value and str(value).strip().lower() not in {"false", "none"}:
            return str(value)
    return None


def _sample(number: int) -> Sample:
    subject, data = sample_run(number)
    return subject, {**data, "runStatus": "Failed"}


EVENT_TYPE: Final = EventType(
    "RunStatusChanged",
    names={
        **RUN_NAMES,
        "run_status": Name("text", "runStatus", one_of=STATUSES),
        "monitor_threshold_breached": Name("boolean"),
        "monitor_message": Name("text", may_be_null=True),
    },
    identified_by="run id and status; an event with a status that is not final is ignored",
    meaning=_meaning,
    sample=_sample,
)
