"""The event and the request of a record, as text for people. Pure."""

import json
from typing import Any, Final, NamedTuple

from shared.azure_devops.runs import RunRequest, with_api_version
from shared.journal.records import Record, is_cut
from tools.actions import records
from tools.actions.explanation import calls_of
from tools.actions.explanation_view import call_text
from tools.console import printable

MAX_SHOWN: Final = 100_000
"""How many characters of a document a page shows."""

_INDENTED: Final = json.JSONEncoder(indent=2, ensure_ascii=False)
_CUT: Final = "The journal has only the beginning of it, because it is too long for a record."


class Document(NamedTuple):
    """A string with a remark about it, which is empty if there is nothing to say."""

    text: str = ""
    remark: str = ""


def event_document(record: Record) -> Document:
    """Return the event as the journal has it, one value a line if it is JSON."""
    return _document(record.entry.event, records.parsed(record.entry.event))


def kept_document(record: Record) -> Document:
    """Return the content of a record that is not about an event."""
    return _document(record.document, records.kept_document(record))


def request_document(record: Record, api_version: str, scheme: str) -> Document:
    """Return the call that queues the run, without the credential.

    :param api_version: the version of the REST API that the call names.
    :param scheme: the scheme of the Authorization header.
    """
    stored = record.entry.request
    if not stored:
        return Document(remark="No request could be built from the event, so nothing was sent.")
    if (request := request_of(record)) is None:
        return _document(stored, stored)
    *_, call = calls_of(record.key, request)
    text = call_text(with_api_version(call, api_version), scheme)
    head, blank, body = text.partition("\n\n")
    return Document(_lines(head + blank + _pretty(body, records.parsed(body))))


def request_of(record: Record) -> RunRequest | None:
    """Return the request of the record; None if there is none, or only a part of it is kept."""
    try:
        return RunRequest.from_json(record.entry.request)
    except ValueError:
        return None


def _document(stored: str, document: Any) -> Document:
    text = stored if is_cut(stored) else _pretty(stored, document)
    if len(text) > MAX_SHOWN:
        return Document(_lines(text[:MAX_SHOWN]), f"The first {MAX_SHOWN:,} characters are shown.")
    return Document(_lines(text), _CUT if is_cut(stored) else "")


def _pretty(stored: str, document: Any) -> str:
    """Return JSON with one value a line, but not much more than is shown: indenting may make it 1,000 times longer.

    :param stored: is returned if the document is not JSON, or is nested too deeply.
    """
    if isinstance(document, str):
        return document
    text = ""
    try:
        for part in _INDENTED.iterencode(document):
            text += part
            if len(text) > MAX_SHOWN:
                break
    except RecursionError:
        return stored
    return text


def _lines(text: str) -> str:
    """Return the text with each unprintable character escaped as in JSON."""
    return "\n".join(map(printable, text.splitlines()))
