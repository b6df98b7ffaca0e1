"""Azure Blob storage over HTTP, with the two operations that read a container: list, with pages, and get.

It accepts a signature in the query, or an Authorization header with a shared key, which it does not verify.
Shapes: https://learn.microsoft.com/rest/api/storageservices/list-blobs and .../get-blob
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

from werkzeug.wrappers import Request, Response

from devstack.http_server import serving as serving_requests
from tests.support.canaries import secret

ACCOUNT = "devaccount"
CONTAINER = "dead-letters"
SIGNATURE = secret("signature")
PAGE_SIZE = 2


@dataclass
class BlobService:
    """An account with one container.

    :param failing: blobs that cannot be read, with the status of the answer.
    """

    blobs: dict[str, bytes] = field(default_factory=dict)
    failing: dict[str, int] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    port: int = 0

    @property
    def account_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/{ACCOUNT}"

    @property
    def url(self) -> str:
        return f"{self.account_url}/{CONTAINER}"

    @property
    def signed_url(self) -> str:
        return f"{self.url}?sv=2025-11-05&sp=rl&sig={SIGNATURE}"

    @property
    def connection_string(self) -> str:
        return f"AccountName={ACCOUNT};AccountKey=Y2FuYXJ5LWtleQ==;BlobEndpoint={self.account_url};"

    def answer(self, request: Request) -> Response:
        """List the container, return a blob, or refuse the request."""
        _, account, container, *name = request.path.split("/", 3)
        self.requests.append(f"{request.args.get('comp', 'get')} {'/'.join(name)}".strip())
        authorization = request.headers.get("Authorization", "")
        if request.args.get("sig") != SIGNATURE and not authorization.startswith(f"SharedKey {ACCOUNT}:"):
            return _refusal(403, "AuthenticationFailed")
        if (account, container) != (ACCOUNT, CONTAINER):
            return _refusal(404, "ContainerNotFound")
        if not name:
            listed = self._list(request.args.get("prefix", ""), request.args.get("marker", ""))
            return Response(listed, mimetype="application/xml")
        return self._get(name[0], "x-ms-range" in request.headers)

    def _get(self, name: str, is_range: bool) -> Response:
        if name in self.failing:
            return _refusal(self.failing[name], "InternalError")
        content = self.blobs[name]
        if not is_range:
            return Response(content, mimetype="application/json")
        if not content:
            return _refusal(416, "InvalidRange")
        # The library requests the first 32 MiB, which is the whole blob.
        headers = {"Content-Range": f"bytes 0-{len(content) - 1}/{len(content)}"}
        return Response(content, 206, headers, mimetype="application/json")

    def _list(self, prefix: str, marker: str) -> str:
        names = [name for name in sorted(self.blobs) if name.startswith(prefix) and name >= marker]
        page, rest = names[:PAGE_SIZE], names[PAGE_SIZE:]
        entries = "".join(
            f"<Blob><Name>{escape(name)}</Name><Properties><Content-Length>{len(self.blobs[name])}</Content-Length>"
            "<BlobType>BlockBlob</BlobType></Properties></Blob>"
            for name in page
        )
        return (
            f'<?xml version="1.0" encoding="utf-8"?><EnumerationResults ContainerName="{CONTAINER}">'
            f"<Prefix>{escape(prefix)}</Prefix><Blobs>{entries}</Blobs>"
            f"<NextMarker>{escape(rest[0]) if rest else ''}</NextMarker></EnumerationResults>"
        )


def _refusal(status: int, code: str) -> Response:
    return Response(status=status, headers={"x-ms-error-code": code})


@contextmanager
def serving(service: BlobService) -> Iterator[BlobService]:
    """Serve on a free port of the loopback address."""

    def answer(request: Request) -> Response:
        return service.answer(request)  # looked up late, because a test may replace the method

    with serving_requests(Request.application(answer)) as server:
        service.port = server.port
        yield service
