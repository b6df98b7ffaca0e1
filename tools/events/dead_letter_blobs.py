"""Dead letters in a blob container, read with azure-storage-blob."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from shared.http.environment import is_loopback
from tools.errors import CommandFailed, UnreadableFile
from tools.events.dead_letters import Source

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential
    from azure.core.exceptions import AzureError
    from azure.storage.blob import ContainerClient

# Three tries within a few seconds. A person waits for the command, and can simply run it again.
_OPTIONS: Final[Mapping[str, Any]] = {
    "connection_timeout": 10,
    "read_timeout": 30,
    "retry_total": 2,
    "initial_backoff": 0.5,
    "increment_base": 1,
    "random_jitter_range": 0.5,
}
_SUFFIX: Final = ".json"


@dataclass(frozen=True, slots=True)
class BlobPlace:
    """The place of the blobs.

    :param prefix: the prefix of the blobs' names; empty for all blobs in the container.
    :param signature: a shared access signature. It is a secret.
    """

    account_url: str
    container: str
    prefix: str = ""
    signature: str = field(default="", repr=False)

    @property
    def shown(self) -> str:
        """The URL without the signature, for people to read."""
        return f"{self.account_url}/{self.container}" + (f"/{self.prefix}" if self.prefix else "")


@dataclass(frozen=True, slots=True)
class BlobAccess:
    """The credential for a URL without a signature.

    :param connection_string: the connection string of a storage account. It is used only for that account.
    :param is_required: whether the operator named the connection string, so that only it may be used.
    """

    make_identity: "Callable[[], TokenCredential]"
    connection_string: str = field(default="", repr=False)
    is_required: bool = False


def blob_place(url: str) -> BlobPlace:
    """Parse ``https://<account>.blob.core.windows.net/<container>[/<prefix>][?<signature>]``.

    For an emulator on this machine, the URL is ``http://127.0.0.1:<port>/<account>/<container>[/<prefix>]``.

    :raises CommandFailed: the URL has another form. The message quotes nothing from it.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError as exc:
        raise CommandFailed(f"the container's URL cannot be used; {_FORM}") from exc
    is_emulator = is_loopback(host)
    if not host or "@" in parts.netloc or (parts.scheme == "http" and not is_emulator):
        raise CommandFailed(f"the container's URL cannot be used; {_FORM}")
    segments = unquote(parts.path).strip("/").split("/")
    account = f"/{segments.pop(0)}" if is_emulator else ""
    if not segments or not segments[0]:
        raise CommandFailed(f"the URL names no container; {_FORM}")
    account_url = f"{parts.scheme}://{parts.netloc}{account}"
    if parts.query and "sig=" not in parts.query:
        raise CommandFailed("the query of the URL is not a shared access signature; put the URL in shell quotes")
    return BlobPlace(account_url, segments[0], "/".join(segments[1:]), parts.query)


def blobs(place: BlobPlace, access: BlobAccess) -> Iterator[Source]:
    """Yield every JSON blob, in the order of the service, which sorts by name.

    :raises CommandFailed: the container cannot be listed.
    """
    from azure.core.exceptions import AzureError  # noqa: PLC0415 - a slow import, rarely needed

    try:
        with _container(place, access) as container:
            for name in container.list_blob_names(name_starts_with=place.prefix or None):
                if name.lower().endswith(_SUFFIX):
                    yield name, partial(_read, container, name)
    except AzureError as exc:
        raise CommandFailed(f"the container {place.shown} cannot be listed: {_why(exc)}") from exc


_FORM: Final = "use https://<account>.blob.core.windows.net/<container>[/<prefix>], with a signature if needed"


def _container(place: BlobPlace, access: BlobAccess) -> "ContainerClient":
    from azure.core.credentials import AzureSasCredential  # noqa: PLC0415 - a slow import, rarely needed
    from azure.storage.blob import ContainerClient  # noqa: PLC0415 - the same

    if place.signature:
        sas = AzureSasCredential(place.signature)
        return ContainerClient(place.account_url, place.container, credential=sas, **_OPTIONS)
    if access.connection_string:
        try:
            container = ContainerClient.from_connection_string(access.connection_string, place.container, **_OPTIONS)
        except ValueError as exc:
            raise CommandFailed("the connection string must be that of a storage account; copy all of it") from exc
        if container.url.partition("?")[0].lower() == f"{place.account_url}/{place.container}".lower():
            return container
        container.close()
        if access.is_required:
            raise CommandFailed(f"the connection string must be that of {place.account_url}; name the right one")
    if not place.account_url.startswith("https://"):
        raise CommandFailed(f"{place.shown} needs a signature or a connection string; tokens require https://")
    return ContainerClient(place.account_url, place.container, credential=access.make_identity(), **_OPTIONS)


def _read(container: "ContainerClient", name: str) -> bytes:
    from azure.core.exceptions import AzureError  # noqa: PLC0415 - a slow import, rarely needed

    try:
        return container.download_blob(name).readall()
    except AzureError as exc:
        raise UnreadableFile(f"cannot be read: {_why(exc)}") from exc
    except ValueError as exc:  # raised by the library for a malformed answer
        raise UnreadableFile("cannot be read: the answer is not that of a storage account") from exc


def _why(exc: "AzureError") -> str:
    """Return why the request failed. The library's own message may quote the URL with its signature."""
    from azure.core.exceptions import (  # noqa: PLC0415 - a slow import, rarely needed
        ClientAuthenticationError,
        HttpResponseError,
        ServiceRequestError,
    )

    match exc:
        case HttpResponseError(status_code=int(status)):
            code = getattr(exc, "error_code", None) or exc.reason or ""
            return f"HTTP {status} {getattr(code, 'value', code)}; {_advice(status)}"
        case ClientAuthenticationError():
            return "Microsoft Entra issued no token; sign in with 'az login', or add a signature to the URL"
        case ServiceRequestError():
            return "no connection to the storage account; check its name and the network"
    return f"the answer was lost ({type(exc).__name__}); try again"


def _advice(status: int) -> str:
    if status in {401, 403}:
        return "use an identity with the role Storage Blob Data Reader, or a valid signature for reading and listing"
    return "check the URL" if status in {400, 404} else "try again later"
