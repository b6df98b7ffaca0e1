"""RunCompleted: a run has succeeded.

Azure ML also sends it for child runs: AutoML iterations, sweep trials and pipeline steps.
"""

from typing import Final

from shared.events.event import AmlEvent, Occurrence, RunEnd
from shared.events.event_type import EventType, Names
from shared.events.runs import COMPLETED, RUN_NAMES, family, sample_run


def _meaning(event: AmlEvent, names: Names) -> Occurrence:
    names["root_run_id"], is_child_run = family(names)
    return Occurrence(
        identity=names["run_id"],
        names=names,
        is_child_run=is_child_run,
        run_end=RunEnd(event.source, names["run_id"], COMPLETED),
    )


EVENT_TYPE: Final = EventType(
    "RunCompleted",
    names=RUN_NAMES,
    identified_by="the run id",
    meaning=_meaning,
    sample=sample_run,
)
