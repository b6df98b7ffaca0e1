"""Everything that the page of a record shows, read from the journal and routes.yaml. Asks nobody else."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from shared.errors import ConfigurationError, JournalUnavailable, ResumeUnavailable
from shared.journal.cooldown import PARTITION_PREFIX
from shared.journal.records import UNROUTED, JournalKey, Record, is_cut
from tools.actions import records
from tools.actions.explanation import Explained, Explainer
from tools.actions.forecast import Row
from tools.actions.orphans import ListedOrphan, listed_orphans
from tools.actions.redrive import forecast_rows
from tools.actions.resume.deferred import STATES as DEFERRED_STATES
from tools.actions.resume.deferred import Deferred, deferred, queued_messages
from tools.actions.resume.gathered import GatheredEvents
from tools.actions.running_app import deciding_routes, other_routes
from tools.console import masked
from tools.events.dead_letters import DeadLetter
from tools.installation import Installation
from tools.page.reading.lineage import Lineage
from tools.page.reading.reader import Reader
from tools.page.record.choices import Choices, choices
from tools.page.record.documents import Document, event_document, kept_document, request_document
from tools.page.record.timeline import Moment, timeline

MAX_LISTED: Final = 50
"""How many gathered events are listed."""

_CUT_EVENT: Final = "Only the beginning of the event is kept, so routes.yaml cannot be asked about it."


class Content(NamedTuple):
    """What is known of a record.

    :param facts: names and values, in order; values may be empty.
    :param forecast: what a redrive would do now; empty if that is not known.
    :param explained: what routes.yaml says of the event now; None if that is not known.
    :param problems: why the last two are not known.
    :param holder: the record that holds a cooldown window; None for other records.
    :param gathered: the last events of the run for several events, at most ``MAX_LISTED``.
    :param lineage: other records of the same event, Azure ML run or model; None if they are not known.
    :param remarks: what else could not be found out, and what is left out.
    """

    record: Record
    name: str
    facts: Sequence[tuple[str, str]]
    moments: Sequence[Moment]
    event: Document
    request: Document
    document: Document
    choices: Choices
    forecast: Sequence[Row] = ()
    explained: Explained | None = None
    problems: Sequence[str] = ()
    holder: JournalKey | None = None
    gathered: Sequence[Record] = ()
    lineage: Lineage | None = None
    orphans: Sequence[ListedOrphan] = ()
    remarks: Sequence[str] = ()


def content(installation: Installation, reader: Reader, record: Record) -> Content:
    """Read what the page of a record shows.

    :param reader: for lists of other records.
    :raises JournalUnavailable: the journal does not answer.
    """
    remarks: list[str] = []
    unreadable = records.Unreadable()
    now = installation.clock()
    again = _again(installation, record, remarks)
    found = Content(
        record,
        records.event_name(record),
        _facts(installation, record, again),
        timeline(record, again, now),
        event_document(record),
        request_document(record, installation.settings.api_version, installation.authorization_scheme),
        kept_document(record),
        choices(record, again),
    )
    if not record.key.is_about_event:
        return found._replace(holder=_holder(record), remarks=remarks)
    try:
        rows, explained = list(forecast_rows(installation, record, look=True)), _explained(installation, record)
        remarks += filter(None, [other_routes(installation)])
        found = found._replace(forecast=rows, explained=explained)
        found = found._replace(problems=[_CUT_EVENT] if explained is None else [])
    except (ConfigurationError, JournalUnavailable) as exc:
        found = found._replace(problems=masked(str(exc)).splitlines())
    orphans = listed_orphans(reader.journal, record.key.route, unreadable) if record.may_have_orphans else []
    return found._replace(
        gathered=reader.gathered_into(record, MAX_LISTED),
        lineage=reader.lineage(record),
        orphans=[one for one in orphans if one.key == record.key],
        remarks=[*remarks, *unreadable.words(MAX_LISTED)],
    )


def _again(installation: Installation, record: Record, remarks: list[str]) -> Deferred | None:
    """Return when a record is tried again; None if it is not, if there is no queue, or if the queue does not answer."""
    if record.state not in DEFERRED_STATES:
        return None
    try:
        waiting = queued_messages(installation, key=record.key)
    except ResumeUnavailable as exc:
        remarks.append(f"when this record comes again is not known: {masked(str(exc))}")
        return None
    return None if waiting is None else deferred(record, waiting, installation.clock())


def _facts(installation: Installation, record: Record, again: Deferred | None) -> list[tuple[str, str]]:
    """Return what ``manage.py journal show`` begins with, apart from what the template shows in another form."""
    unrouted = "checked against no route" if record.key.route == UNROUTED else ""
    return [
        ("reason", "" if records.is_window(record) else records.short_reason(record)),
        ("resume", "" if again is None else again.words()),
        ("gather", GatheredEvents(installation.journal).words(record)),
        ("subject", record.entry.subject),
        ("unrouted", unrouted),
        ("routes", deciding_routes(installation, record)),
    ]


def _explained(installation: Installation, record: Record) -> Explained | None:
    """Return what routes.yaml says of the event now: on its route, or on all if no route was evaluated before.

    None if the store has cut the event.

    :raises ConfigurationError: the routes are invalid.
    """
    if is_cut(record.entry.event):
        return None
    route = None if record.key.route == UNROUTED else record.key.route
    explainer = Explainer(installation, route, installation.clock())
    letter = DeadLetter("", record.entry.event_id, "-", record.entry.event)
    return explainer.explain(letter, installation.decide_again(record))


def _holder(record: Record) -> JournalKey | None:
    """Return the record that holds a cooldown window."""
    if not records.is_window(record):
        return None
    return JournalKey(record.key.route.removeprefix(PARTITION_PREFIX), record.document)
