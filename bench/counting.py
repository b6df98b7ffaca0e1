"""Counts the requests to Azure Tables as they leave."""

from typing import Any

from shared.journal.tables.client import PooledTransport


class CountingTransport(PooledTransport):
    """:ivar sent: how many requests have gone to storage; each is one transaction, a batch too."""

    def __init__(self) -> None:
        super().__init__(4)
        self.sent = 0

    def send(self, request: Any, **options: Any) -> Any:
        """See ``HttpTransport.send``."""
        self.sent += 1
        return super().send(request, **options)
