"""What the app and the commands must know of a kind of journal, apart from its store."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from shared.journal.probe import probe_store
from shared.journal.records import Store

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

MakeIdentity = Callable[[], "TokenCredential"]
"""Makes the app's identity in Azure."""


class Backend(Protocol):
    """One kind of journal. A connection is what the setting JOURNAL_CONNECTION says; it may hold a secret."""

    def problem(self, connection: str) -> str | None:
        """Return why the connection cannot be used, as in "is not …; write …", with nothing secret; else None."""

    def problem_in_azure(self, connection: str) -> str | None:  # noqa: ARG002 - for those who override it
        """Return why the connection cannot be used by an app in Azure, in the same words."""
        return None

    def resolved(self, connection: str, app_dir: Path) -> str:  # noqa: ARG002 - the same
        """Return the connection with relative paths taken from the folder of function_app.py."""
        return connection

    def place(self, connection: str) -> str:
        """Return where the journal is, for people; nothing secret."""

    def may_exist(self, connection: str) -> bool:  # noqa: ARG002 - the same
        """Return False if there surely is no journal yet; opening it would make one."""
        return True

    def open(self, connection: str, make_identity: MakeIdentity, connections: int) -> Store:
        """Open the store.

        :param make_identity: called if the connection names no secret of its own.
        :param connections: how many to keep open, if the store is a service.
        :raises JournalUnavailable: it cannot be opened.
        """

    def probe(self, connection: str, make_identity: MakeIdentity) -> str:
        """Try the journal for real, leave nothing behind, and return what was done.

        :raises JournalUnavailable: it cannot be used.
        """
        return probe_store(self.open(connection, make_identity, 1))
