"""Formats requests, findings and outcomes as text for people. Pure."""

from collections import Counter
from collections.abc import Container, Iterable
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from shared.errors import AzureDevOpsError, RequestNotSent
from shared.http.environment import is_loopback
from shared.telemetry import Outcome

if TYPE_CHECKING:
    from shared.azure_devops.runs import RunRequest
    from tools.routes.findings import Finding

GOOD_OUTCOMES: Final = frozenset(Outcome) - {Outcome.PARKED, Outcome.DEFERRED}
"""The outcomes that leave nothing to do."""

CHECK_THE_NETWORK: Final = "check AZURE_DEVOPS_ORG_URL and the network: DNS, proxy, firewall"
START_THE_EMULATOR: Final = "run 'make ado', which starts the emulator, or correct AZURE_DEVOPS_ORG_URL"


def pipeline_words(request: "RunRequest") -> str:
    """Return the requested pipeline, its project and its branch, on one line."""
    organization = request.organization_url.rpartition("/")[2]
    on_branch = "" if request.branch is None else f" on {request.branch}"
    return f"{request.pipeline} in {organization}/{request.project}{on_branch}"


def request_words(request: "RunRequest", sampled: Container[str] = ()) -> str:
    """Return the request to Azure DevOps, on one line.

    :param sampled: the parameters and variables to mark because their values come only from a sample event.
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


def run_words(run_id: int | None, run_url: str) -> str:
    """Return ``: run 7 https://…``, or an empty string if there is no run."""
    return "" if run_id is None else f": run {run_id} {run_url}".rstrip()


def with_advice(error: AzureDevOpsError, organization_url: str) -> str:
    """Return the error's message with its next step. Most messages already include one."""
    return f"{error}; {network_advice(organization_url)}" if isinstance(error, RequestNotSent) else str(error)


def network_advice(organization_url: str) -> str:
    """Return the next step if Azure DevOps cannot be reached. On this machine, it is the emulator."""
    return START_THE_EMULATOR if is_loopback(urlsplit(organization_url).hostname or "") else CHECK_THE_NETWORK


def summary(what: str, outcomes: Iterable[str]) -> str:
    """Return ``3 records: 2 queued, 1 parked``. An event with several routes has several outcomes."""
    counts = Counter(outcomes)
    return f"{what}: " + ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items()))


def counted(number: int, thing: str) -> str:
    """Return ``1 record`` or ``2 records``."""
    return f"{number} {thing}" + ("" if number == 1 else "s")


def finding_words(finding: "Finding") -> str:
    """Return the text and the message of a finding, on one line."""
    return (f"{finding.text!r}: " if finding.text else "") + finding.message
