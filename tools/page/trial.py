"""Evaluates what was entered on the page Try: events, and a condition to look at. Nothing is changed."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from shared.deciding import Verdict
from shared.errors import ConfigurationError
from shared.routing.condition_parts import Part, evaluate_parts
from shared.routing.table import Refusal
from shared.routing.templates import Expression, InvalidExpression, scope_names
from tools.actions.explanation import Explained, Explainer
from tools.actions.forecast import WOULD_IGNORE
from tools.actions.running_app import other_routes
from tools.console import masked, printable
from tools.errors import UnreadableFile
from tools.events.dead_letters import DeadLetter, read_dead_letters
from tools.installation import Installation
from tools.presentation import counted, summary

MAX_EVENT_BYTES: Final = 2**20
"""Event Grid accepts an event or an array of this size at most."""
TOO_LARGE: Final = f"the text has more than {MAX_EVENT_BYTES:,} bytes, which Event Grid does not accept"
MAX_EVENTS: Final = 20
MAX_CONDITION: Final = 2_000

_AROUND: Final = 60
_SEVERAL: Final = "put several events into an array: [ {…}, {…} ]"
_CORRECT: Final = "correct the marked place"
_AN_EVENT: Final = "enter a JSON object in one of Event Grid's two schemas, or take a sample"


class Fault(NamedTuple):
    """Why the text contains no event.

    :param line: the line of the mistake, counted from 1; 0 if the mistake has no place.
    :param before: the part of the line before the mistake, or the end of that part. ``at`` is the wrong character.
    """

    what: str
    advice: str
    line: int = 0
    column: int = 0
    before: str = ""
    at: str = ""
    after: str = ""


class Entered(NamedTuple):
    """The events that were entered.

    :param letters: at most ``MAX_EVENTS``.
    :param total: the number of all events.
    """

    letters: tuple[DeadLetter, ...]
    total: int


class Result(NamedTuple):
    """What the page shows below the form.

    :param summary: the result on one line; empty if nothing was entered.
    :param problems: why the events could not be evaluated, or not completely.
    :param fault: why the text contains no event; None if it does, or if it is empty.
    :param tried: each event, and what the condition is on it; None if none was entered.
    """

    summary: str = ""
    problems: tuple[str, ...] = ()
    fault: Fault | None = None
    tried: tuple[tuple[Explained, Part | str | None], ...] = ()


def evaluate(installation: Installation, text: str, condition: str) -> Result:
    """Return what each event in the text leads to, as the command ``explain`` does.

    :param condition: a condition to evaluate on each event; empty for none.
    """
    match read_events(text):
        case None:
            return Result()
        case Fault() as fault:
            return Result(fault.what, fault=fault)
        case Entered(letters, total):
            explainer = Explainer(installation, None, installation.clock())
            try:
                explained = [explainer.explain(letter) for letter in letters]
                problems = [explainer.journal_problem, other_routes(installation), installation.resume_problem]
            except ConfigurationError as exc:
                return Result("the routes cannot be used", tuple(masked(str(exc)).splitlines()))
            if total > len(letters):
                problems.append(f"only the first {len(letters)} of {total} events are evaluated")
            parts = [evaluate_condition(condition, each.verdict) if condition else None for each in explained]
            tried = tuple(zip(explained, parts, strict=True))
            return Result(summary_words(explained), tuple(masked(each) for each in problems if each), tried=tried)


def read_events(text: str) -> Entered | Fault | None:
    """Return the events in the text, or why there is none; None if the text is empty."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    if not text.strip():
        return None
    content = text.encode(errors="backslashreplace")
    if len(content) > MAX_EVENT_BYTES:
        return Fault(TOO_LARGE, "enter fewer events, or a smaller one")
    try:
        letters = read_dead_letters("", content)
    except UnreadableFile as exc:
        return _fault(exc)
    if not letters:
        return Fault("the array is empty", "add an event")
    if text.lstrip().startswith("{"):
        # The text itself, because a number such as 1e400 is not the same after it was read and written.
        letters = [replace(letters[0], text=text)]
    return Entered(tuple(letters[:MAX_EVENTS]), len(letters))


def indented(text: str) -> str:
    """Return an event on several lines if it is JSON, and means the same then; otherwise the text itself."""
    try:
        shown = json.dumps(json.loads(text), indent=2, ensure_ascii=False, allow_nan=False)
        shown.encode()
    except (ValueError, RecursionError):  # also for infinite numbers and half of a surrogate pair
        return text
    return shown


def evaluate_condition(text: str, verdict: Verdict) -> Part | str:
    """Return the parts of a condition, evaluated on an event, or why it cannot be evaluated."""
    if len(text) > MAX_CONDITION:
        return f"the condition has {len(text):,} characters; {MAX_CONDITION:,} are allowed"
    if not verdict.scope:
        why = [each.reason for each in verdict.decisions if isinstance(each, Refusal)] or [verdict.why_nothing]
        return f"no condition is evaluated on this event: {'; '.join(why)}"
    try:
        return evaluate_parts(Expression(text, scope_names(verdict.scope)), verdict.scope)
    except InvalidExpression as exc:
        return f"the condition {exc}"


def summary_words(explained: Sequence[Explained]) -> str:
    """Return the outcomes of all events, on one line."""
    outcomes = [_outcomes(each) for each in explained]
    if len(outcomes) == 1:
        return ", ".join(f"{route}: {outcome}" if route else outcome for route, outcome in outcomes[0])
    return summary(counted(len(outcomes), "event"), (outcome for each in outcomes for _, outcome in each))


def _outcomes(explained: Explained) -> list[tuple[str, str]]:
    found = [(each.route, each.outcome or "matches") for each in explained.routes if each.decided is not None]
    return found or [("", WOULD_IGNORE)]


def _fault(unreadable: UnreadableFile) -> Fault:
    error = unreadable.__cause__
    if not isinstance(error, json.JSONDecodeError):
        return Fault(f"the text {unreadable}", _AN_EVENT)
    line = error.doc.split("\n")[error.lineno - 1]
    at = error.colno - 1
    advice = _SEVERAL if error.msg == "Extra data" else _CORRECT
    before, after = line[max(0, at - _AROUND) : at], line[at + 1 : at + 1 + _AROUND]
    what = f"the text is not JSON: {error.msg}"
    return Fault(what, advice, error.lineno, error.colno, *map(printable, (before, line[at : at + 1], after)))
