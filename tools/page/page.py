"""What all views share: the installation, and how the page is reached."""

from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final

from flask import current_app

from shared.errors import JournalUnavailable, ResumeUnavailable
from tools.installation import Installation
from tools.page.reading.source import Source
from tools.page.security import Session

HOST: Final = "127.0.0.1"
"""The only address that the page listens on."""

_EXTENSION: Final = "nextstage-page"


@dataclass(frozen=True)
class Page:
    """One running page.

    :param installation: the installation that the page shows. It reads settings, routes and credentials once.
    :param port: the port that the server listens on.
    :param session: the secrets of this process.
    :param source: what all lists and counts are read from. Close it at the end.
    """

    installation: Installation
    port: int
    session: Session
    source: Source = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "source", Source(self.installation))

    @property
    def url(self) -> str:
        """The address of the page, with the token that admits a browser."""
        return f"http://{HOST}:{self.port}/?token={self.session.token}"

    def now(self) -> Installation:
        """Return the same installation with settings and routes.yaml as they are now, to be read again.

        The journal and the queue stay open: signing in to a storage account again would take seconds.
        """
        fresh = replace(self.installation)
        with suppress(JournalUnavailable, ResumeUnavailable):  # the view says so, if it needs them
            if self.installation.has_journal:
                vars(fresh)["store"] = self.installation.store
                vars(fresh)["queue_to_read"] = self.installation.queue_to_read
        return fresh

    def install(self, extensions: dict[str, object]) -> None:
        """Let ``page()`` find this page."""
        extensions[_EXTENSION] = self


def page() -> Page:
    """Return the page that answers the current request."""
    found = current_app.extensions[_EXTENSION]
    assert isinstance(found, Page)  # noqa: S101 - make_app sets it
    return found
