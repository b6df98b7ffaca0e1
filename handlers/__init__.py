"""What each Azure ML event means. One module per event type: this folder's listing is the feature list."""

from collections.abc import Mapping
from typing import Final

from handlers import (
    dataset_drift_detected,
    model_deployed,
    model_registered,
    run_completed,
    run_status_changed,
)
from shared.events.event import AML_PREFIX, Handler

_MODULES = (run_completed, model_registered, model_deployed, dataset_drift_detected, run_status_changed)

DISPATCH: Final[Mapping[str, Handler]] = {module.EVENT_TYPE: module.handle for module in _MODULES}
"""From Event Grid's event type to what handles it."""

NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    module.EVENT_TYPE.removeprefix(AML_PREFIX): module.NAMES for module in _MODULES
}
"""From an event type as routes.yaml names it to what its conditions and placeholders may use."""
