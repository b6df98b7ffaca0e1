"""Shows explanations: as text for people, as documents for programs."""

import json
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final

from shared.deciding import Verdict
from shared.durations import duration_text, short_duration
from shared.events.event import AML_PREFIX
from shared.http.message import HttpRequest
from shared.routing.condition_parts import Part
from shared.routing.table import Match, Refusal
from tools.actions import records
from tools.actions.explaining import Explained, Explanation
from tools.actions.forecasting import Present
from tools.actions.records import parsed
from tools.console import Console
from tools.wording import pipeline_words, run_words

NOT_KNOWN: Final = "not known"
MASKED: Final = "***"
_MAX_VALUE_LENGTH: Final = 160
_MARGIN: Final = "  "
_LABEL: Final = 8
_ANSWER: Final = len("not reached")


def show(console: Console, explained: Explained, scheme: str, now: datetime) -> None:
    """One event, for people.

    :param scheme: how the Authorization header would name the credential: ``Basic`` or ``Bearer``.
    """
    _show_event(console, explained)
    for explanation in explained.routes:
        if explanation.is_asked:
            _show_route(console, explanation, scheme, now)
    name = _type_name(explained.verdict)
    not_asked = [each for each in explained.routes if not each.is_asked]
    if not_asked:
        names = (each.route + ("" if each.event == name else f" (for {each.event})") for each in not_asked)
        console.line(f"  not asked: {', '.join(names)}")
    console.line()


def document(explained: Explained, scheme: str) -> dict[str, Any]:
    """One event, as JSON."""
    entry = explained.verdict.entry
    return {
        "file": explained.file,
        "dead_letter_reason": None if explained.why_dead == "-" else explained.why_dead,
        "event": {"id": entry.event_id, "type": entry.event_type, "subject": entry.subject},
        "why_nothing": explained.verdict.why_nothing,
        "routes": [_route_document(each, scheme) for each in explained.routes],
    }


def _type_name(verdict: Verdict) -> str:
    return verdict.entry.event_type.removeprefix(AML_PREFIX)


def _show_event(console: Console, explained: Explained) -> None:
    entry = explained.verdict.entry
    name = f"{_type_name(explained.verdict)} {entry.event_id}".strip() or "(unreadable)"
    console.line(f"{explained.file}: {name}" + (f", {entry.subject}" if entry.subject else ""))
    if explained.why_dead != "-":
        console.line(f"  given up by Event Grid: {explained.why_dead}")
    if explained.verdict.why_nothing:
        console.line(f"  nothing follows: {explained.verdict.why_nothing}")


def _show_route(console: Console, explanation: Explanation, scheme: str, now: datetime) -> None:
    decided = explanation.decided
    if decided is None:
        console.line(f"  {explanation.route}: {explanation.reason}")
    elif isinstance(decided, Refusal):
        console.line(f"  {explanation.route}: refused, as {explanation.reason}")
    else:
        console.line(f"  {explanation.route}: matches")
    if explanation.condition is not None:
        _show_part(console, explanation.condition, "when", "")
    if isinstance(decided, Match):
        _show_request(console, explanation, decided, scheme)
    if decided is not None:
        _row(console, "key", decided.key.key)
        _row(console, "journal", _journal_words(explanation.present, now))
        because = explanation.because if explanation.because != explanation.reason else ""
        _row(console, "outcome", explanation.outcome or NOT_KNOWN, because)


def _show_part(console: Console, part: Part, label: str, margin: str) -> None:
    widths = [len(_MARGIN), _LABEL, _ANSWER]
    console.row(("", label, part.answer, margin + part.text), widths)
    for name, value in part.seen.items():
        console.row(("", "", "", f"{margin}  {name} is {_shown(value)}"), widths)
    if part.reason and not part.parts:
        console.row(("", "", "", f"{margin}  {part.reason}"), widths)
    for inner in part.parts:
        _show_part(console, inner, "", margin + "  ")


def _show_request(console: Console, explanation: Explanation, match: Match, scheme: str) -> None:
    request = match.request
    version = "" if request.pipeline_version is None else f", version {request.pipeline_version}"
    _row(console, "run", pipeline_words(request) + version)
    for value in explanation.values:
        source = f"  from {value.template}" if value.template not in {None, value.value} else ""
        kind = "" if value.kind == "parameter" else f"{value.kind} "
        _row(console, "", f"{kind}{value.name} = {_shown(value.value)}{source}")
    if request.stages_to_skip:
        _row(console, "", f"without the stages {', '.join(request.stages_to_skip)}")
    if match.window is not None:
        held = f" for {_shown(match.window.key)}" if match.window.key else ""
        _row(console, "", f"at most one run in {duration_text(match.window.length)}{held}")
    if match.tags:
        _row(console, "", f"tagged {', '.join(match.tags)}")
    for call in explanation.calls:
        console.line()
        console.text("\n".join(f"      {line}".rstrip() for line in _http_lines(call, scheme)))
    console.line()


def _http_lines(call: HttpRequest, scheme: str) -> list[str]:
    head = [f"{call.method} {call.url}"]
    head += [f"{name}: {value}" for name, value in call.headers(f"{scheme} {MASKED}").items()]
    return head if call.body is None else [*head, "", call.body.decode()]


def _journal_words(present: Present | None, now: datetime) -> str:
    if present is None:
        return NOT_KNOWN
    if present.record is None:
        return "nothing: this occurrence was never seen on this route"
    record = present.record
    words = f"{record.state}, for {short_duration(now - records.changed_at(record))}"
    reason = records.reason(record)
    return words + run_words(record.run_id, record.run_url) + (f"; {reason}" if reason else "")


def _row(console: Console, label: str, text: str, more: str = "") -> None:
    console.row(("", label, text, more), [len(_MARGIN), _LABEL, 0])


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _MAX_VALUE_LENGTH else text[:_MAX_VALUE_LENGTH] + "…"


def _route_document(explanation: Explanation, scheme: str) -> dict[str, Any]:
    decided, present = explanation.decided, explanation.present
    return {
        "route": explanation.route,
        "event": explanation.event,
        "asked": explanation.is_asked,
        "matches": isinstance(decided, Match),
        "refused": isinstance(decided, Refusal),
        "reason": explanation.reason,
        "condition": None if explanation.condition is None else asdict(explanation.condition),
        "request": parsed(decided.request.to_json()) if isinstance(decided, Match) else None,
        "values": [asdict(value) for value in explanation.values],
        "tags": list(decided.tags) if isinstance(decided, Match) else [],
        "calls": [_call_document(call, scheme) for call in explanation.calls],
        "key": None if decided is None else decided.key.key,
        "journal": _present_document(present),
        "outcome": explanation.outcome or None,
        "because": explanation.because,
    }


def _call_document(call: HttpRequest, scheme: str) -> dict[str, Any]:
    return {
        "method": call.method,
        "url": call.url,
        "headers": call.headers(f"{scheme} {MASKED}"),
        "body": None if call.body is None else json.loads(call.body),
    }


def _present_document(present: Present | None) -> dict[str, Any] | None:
    """What the journal says; None where it was not asked, or does not answer."""
    if present is None:
        return None
    return {
        "record": None if present.record is None else records.document(present.record),
        "in_the_way": None if present.in_the_way is None else present.in_the_way.reason,
    }
