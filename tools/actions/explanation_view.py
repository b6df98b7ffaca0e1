"""Shows explanations, as text for people or as JSON documents for programs."""

import json
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any, Final

from shared.durations import duration_text, short_duration
from shared.events.event import AML_PREFIX
from shared.http.message import HttpRequest
from shared.journal.records import Entry
from shared.routing.condition_parts import Part
from shared.routing.table import Gather, Match, Refusal
from shared.waits.wait import Wait
from tools.actions import records
from tools.actions.explanation import Explained, Explanation
from tools.actions.forecast import JournalState
from tools.actions.records import parsed
from tools.console import Console
from tools.presentation import pipeline_words, run_words

NOT_KNOWN: Final = "not known"
MASKED: Final = "***"
_MAX_VALUE_LENGTH: Final = 160
_TOO_DEEP: Final = "(nested too deeply to be shown)"
_MARGIN: Final = "  "
_LABEL: Final = 8
_ANSWER: Final = len("not reached")


def show(console: Console, explained: Explained, scheme: str, now: datetime) -> None:
    """Print the explanation of one event.

    :param scheme: the scheme of the Authorization header: ``Basic`` or ``Bearer``.
    """
    letter = explained.letter
    console.line(f"{letter.file}: {event_words(explained.verdict.entry)}")
    if letter.why != "-":
        console.line(f"  given up by Event Grid: {letter.why}")
    if explained.verdict.why_nothing:
        console.line(f"  nothing to do: {explained.verdict.why_nothing}")
    for explanation in explained.routes:
        if explanation.is_checked:
            _show_route(console, explanation, scheme, now)
    for record in explained.waiting:
        wait = Wait.of(record)
        console.line(f"  {records.about(record.key)}: would complete the task of plan {wait.task.plan_id}")
        _row(console, "key", record.key.key)
        _row(console, "journal", f"{record.state}, for {short_duration(now - wait.registered_at)}")
    if names := not_checked(explained):
        console.line(f"  not checked: {', '.join(names)}")
    console.line()


def event_words(entry: Entry) -> str:
    """Return the type, the id and the subject of an event."""
    name = f"{_name(entry)} {entry.event_id}".strip() or "(unreadable)"
    return name + (f", {entry.subject}" if entry.subject else "")


def not_checked(explained: Explained) -> list[str]:
    """Return the routes that the event was not checked against, each with its event type if that is the reason."""
    name = _name(explained.verdict.entry)
    routes = [each for each in explained.routes if not each.is_checked]
    return [each.route + ("" if each.event == name else f" (for {each.event})") for each in routes]


def answer_words(explanation: Explanation) -> str:
    """Return whether the route matches, or why not."""
    if isinstance(explanation.decided, Match):
        return "matches"
    return ("" if explanation.decided is None else "refused: ") + explanation.reason


def run_lines(match: Match) -> list[str]:
    """Return the pipeline of the run, and then what else is asked of it, except its parameters and variables."""
    request = match.request
    lines = [
        pipeline_words(request) + ("" if request.pipeline_version is None else f", version {request.pipeline_version}")
    ]
    if request.stages_to_skip:
        lines.append(f"without the stages {', '.join(request.stages_to_skip)}")
    if match.window is not None:
        held = f" for {shown(match.window.key)}" if match.window.key else ""
        lines.append(f"at most one run in {duration_text(match.window.length)}{held}")
    if match.gather is not None:
        by, quiet, at_most = match.gather
        held = f" for {shown(by)}" if by else ""
        lines.append(f"one run for all events{held}, until none has come for {duration_text(quiet)}")
        lines.append(f"at the latest {duration_text(at_most)} after the first one")
    if match.tags:
        lines.append(f"tagged {', '.join(match.tags)}")
    return lines


def call_text(call: HttpRequest, scheme: str) -> str:
    """Return an HTTP call as it is sent, without the credential."""
    head = [f"{call.method} {call.url}"]
    head += [f"{name}: {value}" for name, value in call.headers(f"{scheme} {MASKED}").items()]
    return "\n".join(head if call.body is None else [*head, "", call.body.decode()])


def journal_words(journal_state: JournalState | None, now: datetime) -> str:
    """Return what the journal holds for the occurrence."""
    if journal_state is None:
        return NOT_KNOWN
    if journal_state.record is None:
        return "no record: this occurrence is new on this route"
    record = journal_state.record
    words = f"{record.state}, for {short_duration(now - records.changed_at(record))}"
    reason = records.reason(record)
    return words + run_words(record.run_id, record.run_url) + (f"; {reason}" if reason else "")


def outcome_words(explanation: Explanation) -> tuple[str, str]:
    """Return the outcome of a delivery and its reason, unless that is the reason of the decision itself."""
    because = explanation.because if explanation.because != explanation.reason else ""
    return explanation.outcome or NOT_KNOWN, because


def shown(value: Any) -> str:
    """Return a value as JSON, cut if it is long."""
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except RecursionError:
        return _TOO_DEEP
    return text if len(text) <= _MAX_VALUE_LENGTH else text[:_MAX_VALUE_LENGTH] + "…"


def document(explained: Explained, scheme: str) -> dict[str, Any]:
    """Return the explanation of one event as a JSON document."""
    entry, letter = explained.verdict.entry, explained.letter
    return {
        "file": letter.file,
        "dead_letter_reason": None if letter.why == "-" else letter.why,
        "event": {"id": entry.event_id, "type": entry.event_type, "subject": entry.subject},
        "why_nothing": explained.verdict.why_nothing,
        "routes": [_route_document(each, scheme) for each in explained.routes],
        "waiting_tasks": [records.document(record) for record in explained.waiting],
    }


def _show_route(console: Console, explanation: Explanation, scheme: str, now: datetime) -> None:
    decided = explanation.decided
    console.line(f"  {explanation.route}: {answer_words(explanation)}")
    if explanation.condition is not None:
        _show_part(console, explanation.condition, "when", "")
    if isinstance(decided, Match):
        _show_request(console, explanation, decided, scheme)
    if decided is not None:
        _row(console, "key", decided.key.key)
        _row(console, "journal", journal_words(explanation.journal_state, now))
        _row(console, "outcome", *outcome_words(explanation))


def _show_part(console: Console, part: Part, label: str, margin: str) -> None:
    widths = [len(_MARGIN), _LABEL, _ANSWER]
    console.row(("", label, part.answer, margin + part.text), widths)
    for name, value in part.seen.items():
        console.row(("", "", "", f"{margin}  {name} is {shown(value)}"), widths)
    if part.reason and not part.parts:
        console.row(("", "", "", f"{margin}  {part.reason}"), widths)
    for inner in part.parts:
        _show_part(console, inner, "", margin + "  ")


def _show_request(console: Console, explanation: Explanation, match: Match, scheme: str) -> None:
    run, *others = run_lines(match)
    _row(console, "run", run)
    for value in explanation.values:
        source = f"  from {value.template}" if value.template not in {None, value.value} else ""
        kind = "" if value.kind == "parameter" else f"{value.kind} "
        _row(console, "", f"{kind}{value.name} = {shown(value.value)}{source}")
    for line in others:
        _row(console, "", line)
    for call in explanation.calls:
        console.line()
        console.text("\n".join(f"      {line}".rstrip() for line in call_text(call, scheme).splitlines()))
    console.line()


def _row(console: Console, label: str, text: str, more: str = "") -> None:
    cells = ("", label, text, more) if more else ("", label, text)
    console.row(cells, [len(_MARGIN), _LABEL, len(text)][: len(cells) - 1])


def _name(entry: Entry) -> str:
    return entry.event_type.removeprefix(AML_PREFIX)


def _gather_document(gather: Gather | None) -> dict[str, str] | None:
    if gather is None:
        return None
    return {"by": gather.by, "quiet": duration_text(gather.quiet), "at_most": duration_text(gather.at_most)}


def _part_document(part: Part) -> dict[str, Any]:
    """Return the fields of a part. Its values are not copied, because they may be nested too deeply for that."""
    values = {each.name: getattr(part, each.name) for each in fields(part)}
    return {**values, "parts": [_part_document(inner) for inner in part.parts]}


def _route_document(explanation: Explanation, scheme: str) -> dict[str, Any]:
    decided, journal_state = explanation.decided, explanation.journal_state
    return {
        "route": explanation.route,
        "event": explanation.event,
        "asked": explanation.is_checked,
        "matches": isinstance(decided, Match),
        "refused": isinstance(decided, Refusal),
        "reason": explanation.reason,
        "condition": None if explanation.condition is None else _part_document(explanation.condition),
        "request": parsed(decided.request.to_json()) if isinstance(decided, Match) else None,
        "values": [asdict(value) for value in explanation.values],
        "gather": None if not isinstance(decided, Match) else _gather_document(decided.gather),
        "tags": list(decided.tags) if isinstance(decided, Match) else [],
        "calls": [
            {
                "method": call.method,
                "url": call.url,
                "headers": call.headers(f"{scheme} {MASKED}"),
                "body": None if call.body is None else json.loads(call.body),
            }
            for call in explanation.calls
        ],
        "key": None if decided is None else decided.key.key,
        "journal": None
        if journal_state is None
        else {
            "record": None if journal_state.record is None else records.document(journal_state.record),
            "in_the_way": None if journal_state.cooldown_holder is None else journal_state.cooldown_holder.reason,
        },
        "outcome": explanation.outcome or None,
        "because": explanation.because,
    }
