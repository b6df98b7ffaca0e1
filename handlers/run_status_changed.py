"""RunStatusChanged: a run has another status than before.

Only final statuses count; the others announce that more is to come. Model monitoring (v2) tells drift this way:
the step that finds a breached threshold tags its own run, so a breach is most often told by a child run.
"""

from collections.abc import Mapping
from typing import Any, Final

from shared.events.data import EventData
from shared.events.event import AmlEvent, Ignored, Occurrence, RunEnd
from shared.events.runs import RUN_NAMES, final_status, is_child_run, read_run

EVENT_TYPE: Final = "Microsoft.MachineLearningServices.RunStatusChanged"
NAMES: Final = (*RUN_NAMES, "run_status", "monitor_threshold_breached", "monitor_message")

_BREACH_TAG: Final = "azureml_modelmonitor_threshold_breached"


def handle(event: AmlEvent) -> Occurrence | Ignored:
    """A run reaches each status once, so run id and status identify the occurrence.

    :raises IncompleteEvent: the data names no run or no status.
    """
    data = EventData(event)
    run = read_run(data)
    status = data.text("runStatus")
    data.check()
    final = final_status(status)
    if final is None:
        return Ignored(f"run {run['run_id']} is {status}, which is not final; its final status is another event")
    message = _breach_message(run["run_tags"])
    return Occurrence(
        identity=f"{run['run_id']}:{final}",
        names=run
        | {
            "run_status": final,
            "monitor_threshold_breached": message is not None,
            "monitor_message": message,
        },
        # A monitor's breach is told by a step of the monitor's run: to leave children out would lose it.
        is_child_run=is_child_run(run) and message is None,
        run_end=RunEnd(event.source, run["run_id"], final),
    )


def _breach_message(tags: Mapping[str, Any]) -> str | None:
    """What the monitor says of the breach, or None where there is none."""
    for name, value in tags.items():
        if name.lower() == _BREACH_TAG and value and str(value).strip().lower() not in {"false", "none"}:
            return str(value)
    return None
