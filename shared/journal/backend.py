"""The interface of a journal backend: what the app and the commands need to know about it, apart from its store."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from shared.clock import Clock, utc_now
from shared.journal.probe import Probe, probe_store
from shared.journal.records import Store

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

MakeIdentity = Callable[[], "TokenCredential"]
"""A function that returns the app's identity in Azure."""


class Backend(Protocol):
    """One journal backend. A connection is the value of the setting JOURNAL_CONNECTION; it may contain a secret."""

    def problem(self, connection: str) -> str | None:
        """Return why the connection cannot be used, as in "is not …; write …", without secrets; None if it can."""

    def problem_in_azure(self, connection: str) -> str | None:  # noqa: ARG002 - overrides use it
        """Return why an app in Azure cannot use the connection, in the same form; None if it can."""
        return None

    def resolved(self, connection: str, app_dir: Path) -> str:  # noqa: ARG002 - the same
        """Return the connection with each relative path resolved against the folder of function_app.py."""
        return connection

    def place(self, connection: str) -> str:
        """Return where the journal is, for messages, without secrets."""

    def may_exist(self, connection: str) -> bool:  # noqa: ARG002 - the same
        """Return False only if there is certainly no journal yet. Opening the store would then create one."""
        return True

    def open(self, connection: str, make_identity: MakeIdentity, connections: int, clock: Clock = utc_now) -> Store:
        """Open the store.

        :param make_identity: called if the connection contains no secret.
        :param connections: how many connections to keep open, if the store is a service.
        :param clock: this process's clock.
        :raises JournalUnavailable: the store cannot be opened.
        """

    def open_to_read(self, connection: str, make_identity: MakeIdentity, connections: int) -> Store:
        """Open the store for a command that only reads, and upgrade nothing. See ``open``."""
        return self.open(connection, make_identity, connections)

    def probe(self, connection: str, make_identity: MakeIdentity) -> Probe:
        """Test the journal with a real record, and remove the record.

        :raises JournalUnavailable: the journal cannot be used.
        """
        return probe_store(self.open(connection, make_identity, 1))
