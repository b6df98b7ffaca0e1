"""The transport of the clients of Azure Storage. Slow to import, so import it only to open a client."""

from typing import Any

import requests
from azure.core.pipeline.transport import RequestsTransport
from requests.adapters import HTTPAdapter

from shared.http.environment import environment_settings


class PooledTransport(RequestsTransport):  # type: ignore[misc]  # azure-core exports it lazily, unseen by mypy
    """A transport to one storage account, with a pool of open connections. Repeats no request.

    It reads each answer completely at once. azure-data-tables asks for the answer to a batch as a stream, and does not
    read it if it is not a batch: the pool would lose the connection, and a broken answer would not raise azure-core's
    errors. It reads the environment once.
    """

    def __init__(self, connections: int) -> None:
        session = requests.Session()
        session.trust_env = False
        adapter = HTTPAdapter(pool_maxsize=connections, max_retries=0)
        session.mount("https://", adapter)
        session.mount("http://", adapter)
        super().__init__(session=session)
        self._environment: dict[str, Any] | None = None

    def close_connections(self) -> None:
        """Close the open connections. The next request opens a new one."""
        self.session.close()

    def send(self, request: Any, **options: Any) -> Any:
        """See ``HttpTransport.send``."""
        if self._environment is None:
            self._environment = environment_settings(request.url)
        options["proxies"] = options.get("proxies") or self._environment["proxies"]
        options.setdefault("connection_verify", self._environment["verify"])
        return super().send(request, **{**options, "stream": False})
