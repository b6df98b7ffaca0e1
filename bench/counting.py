"""Counts the requests to Azure Tables as they leave."""

from typing import Any, Self

from azure.core.pipeline.transport import HttpTransport

from shared.journal.tables.client import pooled_transport


class CountingTransport(HttpTransport[Any, Any]):
    """:ivar sent: how many requests have gone to storage; each is one transaction, a batch too."""

    def __init__(self) -> None:
        self._inner = pooled_transport(4)
        self.sent = 0

    def send(self, request: Any, **options: Any) -> Any:
        """See ``HttpTransport.send``."""
        self.sent += 1
        return self._inner.send(request, **options)

    def open(self) -> None:
        """See ``HttpTransport.open``."""
        self._inner.open()

    def close(self) -> None:
        """See ``HttpTransport.close``."""
        self._inner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()
