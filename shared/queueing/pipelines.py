"""The calls to Azure DevOps that queueing makes."""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final, Protocol

from shared.azure_devops.runs import Run, RunRequest
from shared.journal.records import JournalKey

if TYPE_CHECKING:
    from shared.azure_devops.reconcile import Build

_NAMESPACE: Final = uuid.UUID("0b4c4a5e-2d0f-5b0e-9c0e-6e6578747374")


def orchestration_id(key: JournalKey) -> str:
    """Return the orchestration ID of the run of a record: a UUID, version 5. A record never has two runs."""
    return str(uuid.uuid5(_NAMESPACE, "\n".join(key)))


class Pipelines(Protocol):
    """The calls to Azure DevOps; see ``PipelinesClient``. Every call ends before its deadline.

    Only ``run`` raises AnswerLost. All times are those of this process's clock.
    """

    def run(self, request: RunRequest, deadline: datetime, orchestration_id: str) -> Run:
        """Queue one run. If it raises AnswerLost, a run may have been queued; after other errors, none was."""

    def pipeline_id(self, request: RunRequest, deadline: datetime) -> int:
        """Return the ID of the request's pipeline."""

    def builds(
        self, request: RunRequest, since: datetime, until: datetime, deadline: datetime
    ) -> Iterator[Sequence["Build"]]:
        """Yield, page by page, the runs of the request's pipeline that were queued in a period, oldest first."""

    def build(self, request: RunRequest, run_id: int, deadline: datetime) -> "Build | None":
        """Return one run of the request's project, or None if there is none with this ID."""

    def skipped_stages(self, request: RunRequest, run_id: int, deadline: datetime) -> frozenset[str] | None:
        """Return the stages that a run skipped, in lower case; None if its timeline does not show its stages."""

    def adds_nothing(self, request: RunRequest, parameters: Mapping[str, str], deadline: datetime) -> bool:
        """Return whether a run is the same with these additional template parameters: they are the defaults."""

    def requester(self, request: RunRequest, deadline: datetime) -> str | None:
        """Return the ID, in lower case, of the identity that sends the request; None if it is not known."""

    def admit(self, organization_url: str, *, later: bool = False) -> float:
        """Return 0 if work for an organization may begin now, else the seconds after which to ask again.

        With ``later``, the work has just been tried, so it never begins now.
        """

    def sender(self) -> str:
        """Return a fingerprint of the credential that is sent now, or an empty string if there is none."""

    def cancel(self, request: RunRequest, run: Run, deadline: datetime) -> None:
        """Ask Azure DevOps to cancel a run."""

    def tag(self, request: RunRequest, run: Run, tags: Sequence[str], deadline: datetime) -> None:
        """Tag a run."""
