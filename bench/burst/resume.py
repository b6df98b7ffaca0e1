"""The same burst with ``RESUME_STORAGE``: what is deferred waits in a queue of the app, and Event Grid is acknowledged.

Each instance has the pace of the app itself, ``shared.http.pace``, so messages are simulated one by one. They need no
identity, because each of them stands for one event.

Documented: a queue takes up to 2,000 messages a second.
https://learn.microsoft.com/azure/storage/queues/scalability-targets (read in November 2026)

As in the source of the storage extension: if a message is due, the platform wants an instance for each 24 messages of
the queue (``batchSize`` and ``newBatchSize`` of host.json together), and those that are not due yet count, too.
https://github.com/Azure/azure-sdk-for-net, QueueMetricsProvider.cs and QueueTargetScaler.cs

Assumed, because it is not documented: instances that have not been needed for a minute are removed. Events and messages
share the instances. In fact, Flex Consumption gives each of the two functions instances of its own.
"""

import random
from collections import Counter, deque
from dataclasses import dataclass, field
from math import ceil
from typing import Final, NamedTuple

from bench.burst.burst import PARTITION_ENTITIES_PER_SECOND, Burst
from bench.burst.scenario import Scenario
from shared.http.pace import Pace

QUEUE_MESSAGES_PER_SECOND: Final = 2_000
MESSAGES_PER_INSTANCE: Final = 24
_IDLE_SECONDS: Final = 60


class _Work(NamedTuple):
    """What is done with one delivery or message.

    :param entities: entities read and written in the partition of the route.
    :param transactions: requests to the table. A run and its marker are recorded with one.
    :param puts: messages written.
    :param operations: requests to the queue.
    """

    entities: int
    transactions: int
    puts: int
    operations: int


# Held: there is no claim, only a record that waits. Before a message begins work, it reads the record and writes
# another message for the case of its death, which is removed or moved afterwards. The host takes and removes a message.
DELIVERY_QUEUED: Final = _Work(entities=3, transactions=2, puts=0, operations=0)  # claim, complete
DELIVERY_HELD: Final = _Work(entities=1, transactions=1, puts=1, operations=1)  # hold
DELIVERY_REFUSED: Final = _Work(entities=3, transactions=3, puts=1, operations=1)  # claim, release, read
MESSAGE_QUEUED: Final = _Work(entities=4, transactions=3, puts=1, operations=4)  # read, claim, complete
MESSAGE_HELD: Final = _Work(entities=1, transactions=1, puts=1, operations=3)  # read
MESSAGE_REFUSED: Final = _Work(entities=4, transactions=4, puts=1, operations=4)  # read, claim, release, read


class Instances:
    """The instances of a function app, each with its own pace, which ends with the instance."""

    def __init__(self, scenario: Scenario, chance: random.Random) -> None:
        self._scenario = scenario
        self._chance = chance
        self._starting: deque[int] = deque()
        self._wanted: deque[int] = deque(maxlen=_IDLE_SECONDS)
        self.paces = [Pace(chance.random) for _ in range(scenario.least_instances)]
        self.peak = 0

    def scale(self, second: int, delivered: int, visible: int = 0, invisible: int = 0) -> None:
        """Start instances if work waits, and remove those that were not needed for a minute, except one."""
        while self._starting and self._starting[0] <= second:
            self._starting.popleft()
            self.paces.append(Pace(self._chance.random))
        wanted = ceil(delivered / self._scenario.concurrency)
        if visible:
            wanted += ceil((visible + invisible) / MESSAGES_PER_INSTANCE)
        wanted = min(self._scenario.most_instances, wanted)
        wanted = max(wanted, self._scenario.least_instances)
        missing = wanted - len(self.paces) - len(self._starting)
        for _ in range(min(missing, self._scenario.added_per_second)):
            self._starting.append(second + self._scenario.start_seconds)
        self._wanted.append(wanted)
        if len(self._wanted) == _IDLE_SECONDS:
            del self.paces[max(1, *self._wanted) :]
        self.peak = max(self.peak, len(self.paces))


class ResumedBurst(Burst):
    """A simulation of one scenario in which what is deferred is resumed."""

    def __init__(self, scenario: Scenario) -> None:
        super().__init__(scenario)
        self._chance = random.Random(scenario.seed)  # noqa: S311
        self._instances = Instances(scenario, self._chance)
        self._messages: Counter[int] = Counter()  # by the second in which they become visible
        self._visible = self._invisible = 0

    @property
    def peak_instances(self) -> int:
        return self._instances.peak

    def _next_second(self, second: int) -> int | None:
        is_busy = self._waiting or self._visible or self._messages
        return second + 1 if is_busy else self._grid.next_second

    def _play_second(self, second: int) -> None:
        self._receive(second)
        due = self._messages.pop(second, 0)
        self._visible += due
        self._invisible -= due
        delivered = sum(count for _, _, count in self._waiting)
        self._instances.scale(second, delivered, self._visible, self._invisible)
        if not self._instances.paces:
            return
        served = self._serve_each(second, delivered)
        self._azure_devops.serve(second, served.queued, sum(served.refused.values()))
        retry_after = self._azure_devops.retry_after_seconds(second)
        for pace, count in served.refused.items():
            for _ in range(count):
                pace.uncount()
                pace.pause(second + 1, retry_after)
                self._put(second, pace, second + 1)
        self._take(served.delivered)
        self._visible -= served.messages
        refused = sum(served.refused.values())
        self._outcome.refused += refused
        self._outcome.queue_operations += served.operations
        self._note(second, served.queued, refused + served.held, served.transactions)

    def _serve_each(self, second: int, delivered: int) -> "_Served":
        """Serve deliveries and messages within the limits of threads, partitions, the queue and TSTU."""
        scenario, paces, served = self._scenario, list(self._instances.paces), _Served()
        self._chance.shuffle(paces)
        may_queue = self._azure_devops.may_queue(second)
        thread_seconds = float(len(paces) * scenario.concurrency)
        most_entities = scenario.routes * PARTITION_ENTITIES_PER_SECOND
        number = min(delivered + self._visible, int(thread_seconds / scenario.deferred_seconds))
        for each in range(number):
            if thread_seconds <= 0 or served.entities >= most_entities or served.puts >= QUEUE_MESSAGES_PER_SECOND:
                break
            pace, now = paces[each % len(paces)], second + each / number
            is_message = self._visible > served.messages and (each % 2 == 1 or served.delivered == delivered)
            if is_message:
                served.messages += 1
            elif served.delivered < delivered:
                served.delivered += 1
            else:
                break
            if not pace.take(now):
                served.held += 1
                served.add(MESSAGE_HELD if is_message else DELIVERY_HELD)
                self._put(second, pace, now)
            elif served.queued < may_queue:
                served.queued += 1
                served.add(MESSAGE_QUEUED if is_message else DELIVERY_QUEUED)
                thread_seconds -= scenario.queued_seconds - scenario.deferred_seconds
            else:
                served.refused[pace] += 1
                served.add(MESSAGE_REFUSED if is_message else DELIVERY_REFUSED)
                if served.refused[pace] == scenario.concurrency:  # the answer to the first one has arrived
                    pace.pause(now, self._azure_devops.retry_after_seconds(second))
            thread_seconds -= scenario.deferred_seconds
        return served

    def _put(self, second: int, pace: Pace, now: float) -> None:
        self._messages[max(second + 1, ceil(now + pace.back_in(now)))] += 1
        self._invisible += 1


@dataclass(slots=True)
class _Served:
    """What was done in one second.

    :param delivered, messages: deliveries by Event Grid, and messages of the queue.
    """

    delivered: int = 0
    messages: int = 0
    queued: int = 0
    held: int = 0
    refused: Counter[Pace] = field(default_factory=Counter)
    entities: int = 0
    transactions: int = 0
    puts: int = 0
    operations: int = 0

    def add(self, work: _Work) -> None:
        self.entities += work.entities
        self.transactions += work.transactions
        self.puts += work.puts
        self.operations += work.operations
