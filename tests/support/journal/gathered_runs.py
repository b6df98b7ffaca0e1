"""The judge of gathered events: the runs that follow from the times at which the events were counted.

The groups are experiments. The parameters of a run are ``run``, ``of``, ``count`` and ``since``.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import timedelta

from shared.journal.records import Record

Run = tuple[str, str, str, str]
"""The group, the last event, how many there were, and since when."""


def value_of(record: Record, name: str) -> str:
    """Return a value of the data of a record's event."""
    return str(json.loads(record.entry.event)["data"][name])


def run_of(parameters: Mapping[str, str]) -> Run:
    """Return the run with these parameters."""
    return parameters["of"], parameters["run"], parameters["count"], parameters["since"]


def expected_runs(events: Iterable[Record], quiet: timedelta, at_most: timedelta) -> list[Run]:
    """Return the runs that must have been queued, in sorted order.

    The docs describe a period: it ends when no event has come for ``quiet``, at the latest ``at_most`` after its first
    event. Also check that all events of a period name the same run, and no others do.

    :param events: the records of all events that were gathered.
    """
    by_group: dict[str, list[Record]] = {}
    for event in sorted(events, key=lambda one: (one.changed_at, one.gathered and one.gathered.events)):
        by_group.setdefault(value_of(event, "experimentName"), []).append(event)
    runs, keys = [], []
    for group, found in by_group.items():
        periods: list[list[Record]] = []
        for event in found:
            at = event.changed_at
            is_open = bool(periods) and (
                at - periods[-1][-1].changed_at < quiet and at - periods[-1][0].changed_at < at_most
            )
            periods = [*periods[:-1], [*periods[-1], event]] if is_open else [*periods, [event]]
        for period in periods:
            since = f"{period[0].changed_at:%Y-%m-%dT%H:%M:%SZ}"
            runs.append((group, value_of(period[-1], "runId"), str(len(period)), since))
            (key,) = {event.gathered.into for event in period if event.gathered is not None}
            keys.append(key)
            numbers = [event.gathered.events for event in period if event.gathered is not None]
            assert numbers == [*range(1, len(period) + 1)]
    assert len(keys) == len(set(keys))
    return sorted(runs)
