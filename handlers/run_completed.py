"""RunCompleted: a run has completed with success.

Azure ML raises it for child runs too (AutoML iterations, sweep trials, pipeline steps).
"""

from typing import Final

from shared.events.data import EventData
from shared.events.event import AmlEvent, Occurrence, RunEnd
from shared.events.runs import COMPLETED, RUN_NAMES, is_child_run, read_run

EVENT_TYPE: Final = "Microsoft.MachineLearningServices.RunCompleted"
NAMES: Final = RUN_NAMES


def handle(event: AmlEvent) -> Occurrence:
    """A run completes once, so its id identifies the occurrence.

    :raises IncompleteEvent: the data names no run.
    """
    data = EventData(event)
    run = read_run(data)
    data.check()
    return Occurrence(
        identity=run["run_id"],
        names=run,
        is_child_run=is_child_run(run),
        run_end=RunEnd(event.source, run["run_id"], COMPLETED),
    )
