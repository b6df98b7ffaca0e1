"""BlobCreated: a blob has been created or replaced in a storage account.

The event does not say if the blob is a file. Some programs mark a directory with an empty blob, and some APIs announce
a file before it has content. Both are ignored, because neither means that data has arrived.
Source: Azure Event Grid documentation, "Azure Blob Storage as an Event Grid source".
"""

import re
from typing import Final
from urllib.parse import unquote

from shared.errors import IncompleteEvent
from shared.events.event import AmlEvent, Ignored, Occurrence, joined_identity
from shared.events.event_type import SAMPLE_GROUP, EventType, Form, Name, Names, Sample

# The subject has the name as it is. Depending on the API, the URL has the same or percent-encodes it.
_SUBJECT: Final = re.compile(r"/blobServices/[^/]+/containers/([^/]+)/blobs/(.+)", re.DOTALL | re.IGNORECASE)
_URL: Final = re.compile(r"https?://([^/.]+)[^/]*/([^/]+)/(.+)", re.DOTALL | re.IGNORECASE)
_ACCOUNT: Final = re.compile(r".*/Microsoft\.Storage/storageAccounts/([^/]+)", re.IGNORECASE)

# Data Lake and SFTP report a file when it is opened, and with these APIs when it is closed. Directories are not closed.
_CLOSES: Final = {"createfile": "FlushWithClose", "sftpcreate": "SftpCommit", "sftpwrite": "SftpCommit"}
_CLOSED: Final = {api.lower() for api in _CLOSES.values()}
_SUCCESS: Final = "_SUCCESS"
"""The empty file with which Hadoop and Spark report that a folder is complete."""

# Source: Azure Storage documentation, "Storage account overview" and "Naming and referencing containers, blobs, and
# metadata": the letters of accounts and containers are lower case.
_ACCOUNT_FORM: Final = Form(
    "in lower case, without a domain", lambda text: re.split("[./]", text.rpartition("//")[2])[0].lower()
)
_CONTAINER_FORM: Final = Form("in lower case, without a slash", lambda text: text.strip("/").partition("/")[0].lower())
_PATH_FORM: Final = Form(
    "without a slash at its start and end, and not percent-encoded", lambda text: unquote(text).strip("/")
)
_NAME_FORM: Final = Form("without the folder, and not percent-encoded", lambda text: unquote(text).rpartition("/")[2])
_EXTENSION_FORM: Final = Form("in lower case, without a dot", lambda text: text.rpartition(".")[2].lower())
_ETAG_FORM: Final = Form("without quotes", lambda text: text.strip('"'))
_API_FORM: Final = Form(
    "as FlushWithClose or SftpCommit, since the event of a file that is still open is ignored",
    lambda text: _CLOSES.get(text.lower(), text),
)


def _meaning(event: AmlEvent, names: Names) -> Occurrence | Ignored:
    from_url, from_subject = _URL.match(names["url"]), _SUBJECT.fullmatch(event.subject)
    if from_subject is not None:
        container, path = from_subject.groups()
    elif from_url is not None:
        container, path = map(unquote, from_url.groups()[1:])
    else:
        raise IncompleteEvent("neither the subject nor 'url' of a BlobCreated event names a container and a blob")
    account = _ACCOUNT.match(event.source) or from_url
    folder, _, name = path.rpartition("/")
    stem = name.rpartition(".")[0]
    size = names["size"]
    blob = names | {
        "account": account[1] if account is not None else None,
        "container": container,
        "path": path,
        "folder": folder,
        "name": name,
        "extension": _EXTENSION_FORM.of(name) if stem else "",
        "size": int(size) if size.is_integer() else size,
        "etag": _ETAG_FORM.of(names["etag"] or "") or None,
    }
    reason = _not_a_file(blob)
    identity = joined_identity(container, path, blob["etag"] or event.id)
    return Ignored(reason) if reason else Occurrence(identity, blob)


def _not_a_file(blob: Names) -> str:
    """Return why the blob is not a complete file, as far as the event tells; empty if it is one."""
    api = str(blob["api"]).lower()
    content_type = str(blob["content_type"] or "").partition(";")[0].rstrip().lower()
    if api in _CLOSES:
        return f"{blob['api']} reports a file that is not complete; {_CLOSES[api]} reports it when it is closed"
    if not blob["name"] or (blob["size"] == 0 and content_type.endswith("directory")):
        return "the blob marks a directory"
    is_vague = content_type in {"", "application/octet-stream"} and api not in _CLOSED
    has_extension = blob["extension"].strip("0123456789") != ""
    if blob["size"] == 0 and is_vague and not has_extension and blob["name"] != _SUCCESS:
        return (
            "the blob is empty and its name has no extension, so it probably marks a directory; give a file that "
            f"announces data an extension, some content, or the name {_SUCCESS}"
        )
    return ""


def _sample(number: int) -> Sample:
    path = f"landing/2026-11-20/part-{number:05}.parquet"
    return f"/blobServices/default/containers/training-data/blobs/{path}", {
        "api": "PutBlockList",
        "clientRequestId": "66666666-6666-6666-6666-666666666666",
        "requestId": "77777777-7777-7777-7777-777777777777",
        "eTag": f"0x8DE{number:012X}",
        "contentType": "application/octet-stream",
        "contentLength": 524288,
        "blobType": "BlockBlob",
        "accessTier": "Default",
        "url": f"https://samplestorage.blob.core.windows.net/training-data/{path}",
        "sequencer": f"{number:032X}",
        "storageDiagnostics": {"batchId": "88888888-8888-8888-8888-888888888888"},
    }


EVENT_TYPE: Final = EventType(
    "Microsoft.Storage.BlobCreated",
    names={
        "account": Name("string", may_be_null=True, form=_ACCOUNT_FORM),
        "container": Name("string", form=_CONTAINER_FORM),
        "path": Name("string", form=_PATH_FORM),
        "folder": Name("string", may_be_empty=True, form=_PATH_FORM),
        "name": Name("string", form=_NAME_FORM),
        "extension": Name("string", may_be_empty=True, form=_EXTENSION_FORM),
        "size": Name("number", "contentLength"),
        "content_type": Name("string", "contentType", may_be_null=True),
        "etag": Name("string", "eTag", may_be_null=True, form=_ETAG_FORM),
        "api": Name("string", "api", may_be_null=True, form=_API_FORM),
        "url": Name("string", "url"),
    },
    identified_by="container, path and `etag`; what is [not a complete file](#blobs) is ignored",
    meaning=_meaning,
    sample=_sample,
    sample_source=f"{SAMPLE_GROUP}/providers/Microsoft.Storage/storageAccounts/samplestorage",
)
