"""Compares the routes.yaml of this installation with the one that the app runs."""

from datetime import UTC, datetime

from shared.errors import ConfigurationError, JournalUnavailable
from shared.journal.records import Record
from shared.routing.running import RunningRoutes, running_routes
from shared.routing.table import RouteTable
from tools.installation import Installation
from tools.presentation import counted

ADVICE = (
    "restart the app, or deploy this file; if apps with different files use this journal, give each app its own "
    "JOURNAL_CONNECTION"
)
"""An app with another file on the same journal replaces the note when it starts, so a restart would not end it."""


def other_routes(installation: Installation) -> str:
    """Return in words that the app runs another routes.yaml, and what to do; empty if not, or if that is unknown.

    :raises ConfigurationError: the routes are invalid.
    """
    try:
        running = running_routes(installation.journal) if installation.has_journal else None
    except JournalUnavailable:  # the command says so itself, if it needs the journal
        return ""
    what = difference(installation, running)
    return f"{what}; {ADVICE}" if what else ""


def difference(installation: Installation, running: RunningRoutes | None) -> str:
    """Return in words how the app's routes.yaml differs from that of the installation; empty if it does not.

    :raises ConfigurationError: the routes are invalid.
    """
    routes, file = installation.configuration.routes, installation.settings.routes_file
    if running is None or running.digest == routes.digest:
        return ""
    age = "an older" if datetime.fromtimestamp(file.stat().st_mtime, UTC) > running.since else "another"
    theirs, ours = words(running.digest, running.count), table_words(routes)
    return f"the app runs {age} {file.name} ({theirs}) than this one ({ours})"


def deciding_routes(installation: Installation, record: Record) -> str:
    """Return which routes.yaml has decided about the event, compared with the one here; empty if it is not known."""
    if not record.routes:
        return ""
    try:
        routes, file = installation.configuration.routes, installation.settings.routes_file.name
    except ConfigurationError:
        return f"digest {record.routes}"
    if routes.digest == record.routes:
        return f"digest {record.routes}, as {file} has now"
    return f"digest {record.routes}; {file} now has {routes.digest}"


def table_words(routes: RouteTable) -> str:
    """Return ``digest 1a2b3c4d, 7 routes``."""
    return words(routes.digest, len(routes.routes))


def words(digest: str, count: int) -> str:
    """Return ``digest 1a2b3c4d, 7 routes``."""
    return f"digest {digest}, {counted(count, 'route')}"
