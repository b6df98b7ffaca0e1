"""Puts what would be done, and what was done, into words for people and documents for programs. Pure."""

from collections import Counter
from collections.abc import Container, Iterable
from typing import Any, Final

from shared.azure_devops.runs import RunRequest
from shared.errors import AzureDevOpsError, RequestNotSent
from shared.redrive import RedriveForecast
from shared.routing.table import Refusal
from shared.telemetry import Decision, Outcome
from tools.actions.records import SHOWN_KEY, parsed
from tools.routes.findings import Finding

GOOD_OUTCOMES: Final = frozenset({Outcome.QUEUED, Outcome.DUPLICATE, Outcome.SUPPRESSED, Outcome.IGNORED})
"""Nothing is left to do after these."""

CHECK_THE_WAY: Final = "check AZURE_DEVOPS_ORG_URL, and the way there: DNS, proxy, firewall"
"""What to do if Azure DevOps cannot be reached."""


def pipeline_words(request: RunRequest) -> str:
    """Which pipeline is asked for, and on which branch."""
    organization = request.organization_url.rpartition("/")[2]
    on_branch = "" if request.branch is None else f" on {request.branch}"
    return f"{request.pipeline} in {organization}/{request.project}{on_branch}"


def request_words(request: RunRequest, sampled: Container[str] = ()) -> str:
    """What is asked of Azure DevOps, on one line.

    :param sampled: the parameters and variables whose values are marked, because only a sample event gives them.
    """
    words = pipeline_words(request)
    parts = {"": request.parameters, "variables ": request.variables}
    for kind, values in parts.items():
        if values:
            shown = (f"{name}={value}" + (" (sample)" if name in sampled else "") for name, value in values.items())
            words += f"; {kind}" + ", ".join(shown)
    if request.stages_to_skip:
        words += f"; without the stages {', '.join(request.stages_to_skip)}"
    if request.pipeline_version is not None:
        words += f"; version {request.pipeline_version}"
    return words


def decision_words(decision: Decision, asked_key: str = "") -> str:
    """Return the run, the reason, and the key if it is not the one that was asked for."""
    moved = f"under key {decision.key[:SHOWN_KEY]}" if asked_key and decision.key not in {asked_key, ""} else ""
    run = run_words(decision.run_id, decision.run_url).removeprefix(": ")
    return "; ".join(part for part in (moved, run, decision.reason) if part)


def run_words(run_id: int | None, run_url: str) -> str:
    """``: run 7 https://…``, or nothing."""
    return "" if run_id is None else f": run {run_id} {run_url}".rstrip()


def with_advice(error: AzureDevOpsError) -> str:
    """Return the error's words and what to do about it, which most errors say themselves."""
    return f"{error}; {CHECK_THE_WAY}" if isinstance(error, RequestNotSent) else str(error)


def summary(what: str, outcomes: Iterable[str]) -> str:
    """``3 records: 2 queued, 1 parked``; more outcomes than records where an event has several routes."""
    counts = Counter(outcomes)
    return f"{what}: " + ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items()))


def counted(number: int, thing: str) -> str:
    """``1 record``, ``2 records``."""
    return f"{number} {thing}" + ("" if number == 1 else "s")


def finding_words(finding: Finding) -> str:
    """Return what a check found, on one line."""
    return (f"{finding.text!r}: " if finding.text else "") + finding.message


def foreseen_document(foreseen: RedriveForecast) -> dict[str, Any]:
    """What redriving would do, as JSON."""
    return {
        "looks_first": foreseen.looks_first,
        "decisions": [
            {
                "route": decided.key.route,
                "key": decided.key.key,
                "request": None if isinstance(decided, Refusal) else parsed(decided.request.to_json()),
                "refused": decided.reason if isinstance(decided, Refusal) else "",
            }
            for decided in foreseen.decisions
        ],
        "why_nothing": foreseen.why_nothing,
    }
