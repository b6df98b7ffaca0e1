"""RunCompleted: a run has succeeded.

Azure ML also sends it for child runs: AutoML iterations, sweep trials and pipeline steps.
"""

from typing import Final

from shared.events.event import AmlEvent, Occurrence, RunEnd
from shared.events.event_type import EventType, Names
from shared.events.runs import COMPLETED, RUN_NAMES, is_child_run, root_run_id, sample_run


def _meaning(event: AmlEvent, names: Names) -> Occurrence:
    run = names | {"root_run_id": root_run_id(names)}
    return Occurrence(
        identity=run["run_id"],
        names=run,
        is_child_run=is_child_run(run),
        run_end=RunEnd(event.source, run["run_id"], COMPLETED),
    )


EVENT_TYPE: Final = EventType(
    "RunCompleted",
    names=RUN_NAMES,
    identified_by="the run id",
    meaning=_meaning,
    sample=sample_run,
)
