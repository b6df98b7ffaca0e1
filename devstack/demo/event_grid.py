"""Delivers events to a function app as Event Grid does: one event per request, retried until it is acknowledged."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import requests

from devstack.events import sample_text
from shared.events.event import parse_event

# A twentieth of Event Grid's waits (10 s, 30 s, 1 min, …), and at most 3 s, to keep the demo short.
# Source: Event Grid docs, delivery and retry.
RETRY_SECONDS = (0.5, 1.5, 3.0, 3.0, 3.0, 3.0)
TIMEOUT_SECONDS = 30  # how long Event Grid waits for an answer


@dataclass
class Delivery:
    """One sample event and the answers to its deliveries, in order.

    :param note: what the report says about the delivery, in addition to the outcomes.
    :param copies: how many times the event is delivered, each time until it is acknowledged.
    :param at_once: whether the first two copies are sent at the same time.
    :param changed: the event that is delivered, if it differs from the sample.
    """

    sample: str
    note: str = ""
    copies: int = 1
    at_once: bool = False
    changed: str = ""
    statuses: list[int] = field(default_factory=list)

    @property
    def text(self) -> str:
        return self.changed or sample_text(self.sample)

    @property
    def event_id(self) -> str:
        return parse_event(self.text).id

    @property
    def acknowledged(self) -> bool:
        return bool(self.statuses) and self.statuses[-1] == requests.codes.accepted


def deliver(endpoint: str, delivery: Delivery) -> None:
    """Deliver all copies, each until it is acknowledged or no retries are left."""
    parallel = 2 if delivery.at_once else 1
    all_at_once([partial(_deliver_until_acknowledged, endpoint, delivery)] * parallel, parallel)
    for _ in range(delivery.copies - parallel):
        _deliver_until_acknowledged(endpoint, delivery)


def all_at_once(calls: Sequence[Callable[[], None]], threads: int) -> None:
    """Make calls in threads, and return when all have returned. An interruption does not wait for them."""
    pool = ThreadPoolExecutor(threads)
    try:
        for future in [pool.submit(call) for call in calls]:
            future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _deliver_until_acknowledged(endpoint: str, delivery: Delivery) -> None:
    for seconds in (*RETRY_SECONDS, None):
        if _deliver_once(endpoint, delivery) == requests.codes.accepted or seconds is None:
            return
        time.sleep(seconds)


def _deliver_once(endpoint: str, delivery: Delivery) -> int:
    text = delivery.text
    if delivery.sample.endswith(".cloud"):
        body, content_type = text, "application/cloudevents+json; charset=utf-8"
    else:
        body, content_type = f"[{text}]", "application/json; charset=utf-8"
    headers = {
        "Content-Type": content_type,
        "aeg-event-type": "Notification",
        "aeg-subscription-name": "NEXTSTAGE",
        "aeg-delivery-count": str(len(delivery.statuses)),
    }
    status = requests.post(endpoint, data=body.encode(), headers=headers, timeout=TIMEOUT_SECONDS).status_code
    delivery.statuses.append(status)
    return status
