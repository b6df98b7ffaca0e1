"""Other records of the same event, the same Azure ML run, or the same model."""

import json
from datetime import datetime
from itertools import islice
from typing import Any, Final, NamedTuple

from handlers import DISPATCH
from shared.errors import EventRefused
from shared.events.event import ANY_TYPE, Occurrence, parse_event
from shared.journal.records import Record
from tools.page.reading.journal_file import EVENT_STATES, Condition, JournalFile, read_only, read_time

MAX_SEARCHED: Final = 5000
MAX_FOUND: Final = 50
MAX_TERMS: Final = 8
_MIN_TERM: Final = 3


class Term(NamedTuple):
    """What other records may have in common with a record.

    :param kind: in words, such as ``Azure ML run``.
    :param text: what their events contain.
    """

    kind: str
    text: str


class Related(NamedTuple):
    """A record that has something in common with another one.

    :param because: what they have in common.
    """

    record: Record
    because: tuple[Term, ...]


class Lineage(NamedTuple):
    """The records that have something in common with a record, the newest first.

    :param terms: what was searched for.
    :param searched: how many records were searched: the newest ones.
    :param back_to: the time of the claim of the last one of these; None if all were searched.
    """

    found: tuple[Related, ...]
    terms: tuple[Term, ...]
    searched: int
    back_to: datetime | None = None


def terms_of(record: Record) -> tuple[Term, ...]:
    """Return what to search for: the event's id, its run or the root of it, and its models. Pure."""
    terms = [Term("event", record.entry.event_id)] if record.entry.event_id else []
    names = _names(record.entry.event)
    if isinstance(run := names.get("root_run_id") or names.get("run_id"), str):
        terms.append(Term("Azure ML run", run))
    models = names.get("model_ids") or [names.get("model_id")]
    terms += [Term("model", model) for model in models if isinstance(model, str)]
    return tuple(dict.fromkeys(term for term in terms if len(term.text) >= _MIN_TERM))[:MAX_TERMS]


def lineage(file: JournalFile, record: Record, max_searched: int = MAX_SEARCHED) -> Lineage:
    """Search the newest records for those that have something in common with a record.

    :raises JournalUnavailable: the file does not answer.
    """
    terms = terms_of(record)
    if not terms:
        return Lineage((), (), 0)
    is_in = " OR ".join("instr(event, ?) OR instr(document, ?)" for _ in terms)
    # An event is as it was sent. A document has only ASCII characters.
    texts = [json.dumps(term.text, ensure_ascii=is_ascii)[1:-1] for term in terms for is_ascii in (False, True)]
    with file.moment() as moment:
        newest = moment.newest_first(EVENT_STATES, Condition().and_also(f"({is_in})", *texts))
        rows = list(islice(newest, max_searched + 1))
    hits = [row for row in rows[:max_searched] if row.is_hit and row.position[1:] != tuple(record.key)]
    others = read_only(file.records(hits[: 2 * MAX_FOUND], with_events=True))
    related = (Related(other, tuple(term for term in terms if _has(other, term))) for other in others)
    found = [one for one in related if one.because]
    searched = min(len(rows), max_searched)
    back_to = read_time(rows[max_searched - 1].position.claimed_at) if len(rows) > max_searched else None
    return Lineage(tuple(found[:MAX_FOUND]), terms, searched, back_to)


def _has(record: Record, term: Term) -> bool:
    """Return whether a record is about this event, run or model. Part of another id does not count."""
    if term.kind == "event":
        return record.entry.event_id == term.text
    if term in terms_of(record):
        return True
    try:
        return _contains(json.loads(record.entry.event), term.text)
    except (ValueError, RecursionError):
        return False


def _contains(document: Any, text: str) -> bool:
    """Return whether one of the strings in a JSON document is this one, also as a segment of a path."""
    match document:
        case str():
            return document == text or text in document.split("/")
        case dict():
            return any(_contains(value, text) for value in document.values())
        case list():
            return any(_contains(value, text) for value in document)
    return False


def _names(event: str) -> dict[str, Any]:
    try:
        parsed = parse_event(event)
        meaning = DISPATCH.get(parsed.type, DISPATCH[ANY_TYPE])(parsed)
    except EventRefused:
        return {}
    return dict(meaning.names) if isinstance(meaning, Occurrence) else {}
