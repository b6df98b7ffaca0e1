"""The overview: what needs a person, what happened when, and the latest decisions."""

from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from flask import Blueprint, render_template, request, url_for
from werkzeug.datastructures import MultiDict

from handlers import NAMES
from shared.durations import parse_duration
from shared.errors import ConfigurationError, ResumeUnavailable, UnreadableRecord
from shared.journal.records import UNROUTED, JournalKey, Record
from shared.journal.stored_form import Found
from shared.routing.routes_file import read_routes
from tools.actions import records
from tools.actions.records import RecordFilter
from tools.actions.resume.deferred import Waiting, deferred, queued_messages
from tools.actions.resume.gathered import GatheredEvents
from tools.errors import CommandFailed
from tools.files import read_text
from tools.installation import Installation
from tools.page.chart import chart
from tools.page.page import Page, page
from tools.page.reading.attention import MAX_COUNTED
from tools.page.reading.decisions import Decisions, Search, position_text, read_position
from tools.page.reading.journal_file import EVENT_STATES, key_of
from tools.page.reading.reader import Reader
from tools.page.reading.timeline import DAY, DEFERRED, SERIES, SPANS

blueprint = Blueprint("overview", __name__)

MAX_ROUTES_SHOWN: Final = 12
MAX_CANNOT_TELL_SHOWN: Final = 5
MAX_TEXT: Final = 200
MAX_MESSAGES: Final = 1000
"""How many messages of deferred events are read, to know when the oldest ones come again."""
BY_ROUTE: Final = "route"

_STATES: Final = {**{state.value: (state,) for state in EVENT_STATES}, DEFERRED: SERIES[DEFERRED]}
"""The states that the filter knows, by their names in a URL."""


class Asked(NamedTuple):
    """What the URL asks for.

    :param problems: what is wrong with it.
    """

    search: Search
    span: str
    is_by_route: bool
    problems: tuple[str, ...]

    @property
    def is_list(self) -> bool:
        """Whether only a part of the decisions is wanted, and nothing else of the overview."""
        return bool(self.problems) or self.search != Search()


class Line(NamedTuple):
    """A record in a list.

    :param record: None if it cannot be read; ``reason`` then says why.
    """

    key: JournalKey
    record: Record | None
    event: str
    reason: str


@blueprint.get("/")
def show() -> tuple[str, int]:
    """Show the page."""
    shown, asked = page(), read_query(request.args)
    status = 400 if asked.problems else 200
    if not (shown.installation.has_journal or shown.source.is_open):
        return render_template("overview.html", asked=asked, is_empty=True), status
    return render_template("overview.html", asked=asked, **_content(shown, asked)), status


def _content(shown: Page, asked: Asked) -> dict[str, Any]:
    reader, now = shown.source.reader(), shown.installation.clock()
    found = Decisions(()) if asked.problems else reader.decisions(asked.search, now)
    gathered = GatheredEvents(reader.journal)
    routes = {*reader.routes(), *filter(None, [asked.search.wanted.route])} - {UNROUTED}
    return {
        **({} if asked.is_list else _summary(shown, reader, asked, gathered, now)),
        "found": found,
        "is_empty": not (found.records or asked.is_list),
        "lines": [line(one, gathered) for one in found.records],
        "newest": link(page="") if asked.search.after is not None else "",
        "older": "" if found.after is None else link(page=position_text(found.after)),
        "progress": shown.source.progress,
        "routes": [*sorted(routes), UNROUTED],
        "states": list(_STATES),
    }


def _summary(shown: Page, reader: Reader, asked: Asked, gathered: GatheredEvents, now: datetime) -> dict[str, Any]:
    """Return what the page shows above the list, unless only some of the decisions are wanted."""
    span = SPANS[asked.span]
    needs, timeline = reader.attention(now), reader.timeline(span, now)
    by_route = reader.timelines_by_route(span, now) if asked.is_by_route else {}
    waiting = _waiting(shown.installation) if needs.oldest_deferred else None
    return {
        "is_configured": _is_configured(shown.now()),
        "attention": needs,
        "by_route": [(route, each, chart(each)) for route, each in list(by_route.items())[:MAX_ROUTES_SHOWN]],
        "cannot_tell": [line(record, gathered) for record in needs.cannot_tell[:MAX_CANNOT_TELL_SHOWN]],
        "chart": chart(timeline),
        "link": link,
        "max_counted": MAX_COUNTED,
        "oldest_deferred": [_deferred_line(record, gathered, waiting, now) for record in needs.oldest_deferred],
        "parked": [line(one, gathered) for one in needs.newest_parked if one not in needs.cannot_tell],
        "routes_left_out": max(0, len(by_route) - MAX_ROUTES_SHOWN),
        "series": SERIES,
        "timeline": timeline,
    }


def line(found: Found, gathered: GatheredEvents) -> Line:
    """Return what a list shows of a record, in the words of the commands."""
    if isinstance(found, UnreadableRecord):
        return Line(key_of(found), None, "(unreadable)", str(found))
    reason = "; ".join(filter(None, (records.short_reason(found), gathered.words(found))))
    event_type, subject = records.event_type_name(found), found.entry.subject
    return Line(found.key, found, f"{event_type} {subject}" if subject else records.event_name(found), reason)


def _deferred_line(record: Record, gathered: GatheredEvents, waiting: Waiting | None, now: datetime) -> Line:
    """Return the line of a deferred record, which also says when it comes again, if that is known."""
    found = line(record, gathered)
    again = None if waiting is None else deferred(record, waiting, now)
    return found._replace(reason="; ".join(filter(None, (found.reason, again.words() if again else ""))))


def _waiting(installation: Installation) -> Waiting | None:
    """Return the messages in the queue; None if there is no queue. If it does not answer, the page Due says why."""
    with suppress(ResumeUnavailable):
        return queued_messages(installation, limit=MAX_MESSAGES)
    return None


def _is_configured(installation: Installation) -> bool:
    """Return whether settings and routes.yaml are valid. Only the app's environment has all values that routes use."""
    with suppress(CommandFailed, ConfigurationError):
        text = read_text(installation.settings.routes_file)
        return not read_routes(text, names=NAMES, environment=installation.environment).problems
    return False


def link(**changes: str) -> str:
    """Return the URL of the current page with changes, and from the first record of the list on."""
    kept: dict[str, Any] = {name: values for name, values in request.args.lists() if name != "page"}
    kept |= changes
    return url_for("overview.show", **{name: value for name, value in kept.items() if value})


def read_query(query: MultiDict[str, str]) -> Asked:
    """Return what the query of a URL asks for. Pure."""
    problems: list[str] = []
    names = [name for name in query.getlist("state") if name]
    unknown = [name for name in names if name not in _STATES]
    problems += [f"'{name}' is not a state of an event; use one of {', '.join(_STATES)}" for name in unknown]
    states = {state for name in names for state in _STATES.get(name, ())}
    wanted = RecordFilter(
        query.get("route", "").strip() or None,
        frozenset(states),
        older_than=_duration(query, "older", problems),
        newer_than=_duration(query, "newer", problems),
    )
    after = None
    if (place := query.get("page", "")) and (after := read_position(place)) is None:
        problems.append("the link to this page of the list is cut or changed; begin with the newest decisions")
    span = query.get("span", DAY.name)
    if span not in SPANS:
        problems.append(f"'{span}' is not a period of the timeline; use one of {', '.join(SPANS)}")
        span = DAY.name
    text = query.get("text", "").strip()
    if len(text) > MAX_TEXT:
        problems.append(f"the text to search for may have at most {MAX_TEXT} characters")
    search = Search(wanted, text[:MAX_TEXT], after)
    return Asked(search, span, query.get("by") == BY_ROUTE, tuple(problems))


def _duration(query: MultiDict[str, str], name: str, problems: list[str]) -> timedelta | None:
    if not (text := query.get(name, "").strip()):
        return None
    try:
        return parse_duration(text)
    except ValueError as exc:
        problems.append(f"'{text}' {exc}")
        return None
