"""The function app on a machine whose clock is ``SOAK_CLOCK_SECONDS`` ahead, or behind if that is negative."""

import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import azure.functions as func

from handlers import DISPATCH, NAMES
from shared.clock import utc_now
from shared.composition import App, compose, load_configuration
from shared.lazy import Lazy
from shared.telemetry import silence_request_logs

_AHEAD: Final = timedelta(seconds=float(os.environ["SOAK_CLOCK_SECONDS"]))


def _clock() -> datetime:
    return utc_now() + _AHEAD


def _compose() -> App:
    silence_request_logs()
    return compose(load_configuration(os.environ, Path(__file__).parent, NAMES), DISPATCH, clock=_clock)


_app = Lazy(_compose)
app = func.FunctionApp()


@app.function_name("aml_event")
@app.event_grid_trigger(arg_name="event")
def aml_event(event: str) -> None:
    """Handle one event."""
    _app().relay.deliver(event)


@app.function_name("purge_journal")
@app.timer_trigger(arg_name="timer", schedule="0 30 3 * * *", run_on_startup=False)
def purge_journal(timer: func.TimerRequest) -> None:
    """Cancel second runs of events."""
    _app().queueing.recovery.orphans.settle(10.0)
