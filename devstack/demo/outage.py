"""An outage of Azure DevOps that ends: the app comes back to its events, without another delivery."""

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import requests

from devstack.demo.event_grid import Delivery
from shared.journal.records import JournalKey
from shared.journal.sqlite import SqliteStore
from shared.resume.sqlite_queue import SqliteQueue


def wait_until(condition: Callable[[], bool], longest_seconds: float) -> None:
    """Wait until a condition is true, but not forever: the books show what is missing."""
    limit = time.monotonic() + longest_seconds
    while not condition() and time.monotonic() < limit:
        time.sleep(0.1)


def is_up(url: str) -> bool:
    """Return whether a server accepts connections."""
    try:
        requests.get(url, timeout=10)
    except requests.ConnectionError:
        return False
    return True


def deferred_keys(journal: Path) -> list[JournalKey]:
    """Return the keys of the records that come again."""
    with closing(SqliteStore(journal, is_reader=True)) as store:
        return [due.key for due in SqliteQueue(store, timedelta()).due(100)]


def came_back(delivery: Delivery, decisions: Iterable[Mapping[str, Any]]) -> bool:
    """Return whether an event was delivered once, acknowledged, deferred, and queued later."""
    outcomes = [each["outcome"] for each in decisions if each["event_id"] == delivery.event_id]
    is_delivered_once = delivery.acknowledged and len(delivery.statuses) == 1
    return is_delivered_once and (outcomes[:1], outcomes[-1:]) == (["deferred"], ["queued"])
