"""The installation that the commands work on: settings, journal and routes, each read only if a command needs it.

The code for each part is imported only then, too, so that a command starts quickly.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

from shared.clock import Clock, utc_now
from shared.errors import InvalidSettings
from tools.errors import CommandFailed
from tools.local_settings import with_local_settings

if TYPE_CHECKING:
    from shared.azure_devops.client import PipelinesClient
    from shared.composition import App, Configuration
    from shared.deciding import Verdict
    from shared.journal.cooldown import Covered, Undecided, Window
    from shared.journal.journal import Journal
    from shared.journal.records import JournalKey, Record, Store
    from shared.resume.period import Period
    from shared.resume.queue import DueQueue
    from shared.routing.table import Gather
    from shared.settings import Settings
    from shared.telemetry import Report
    from tools.actions.resume.poison import PoisonQueue


@dataclass(frozen=True)
class Installation:
    """One installation of the app, as seen from a shell.

    :param app_dir: the folder that contains function_app.py.
    :param environ: environment variables. They take precedence over local.settings.json.
    :param clock: the clock for ages and forecasts; the app itself uses another one.
    :param is_deployed: whether ``environ`` is that of a deployed app, which local.settings.json does not describe.
    """

    app_dir: Path
    environ: Mapping[str, str]
    clock: Clock = utc_now
    is_deployed: bool = False

    def with_routes(self, file: Path | None) -> Self:
        """Return the same installation with another dispatch table; None changes nothing."""
        return self if file is None else replace(self, environ={**self.environ, "ROUTES_FILE": str(file.absolute())})

    @cached_property
    def settings(self) -> "Settings":
        """The settings that the journal and the routes need. The credential may be missing.

        :raises InvalidSettings: lists every problem.
        """
        from shared.settings import load_settings

        return load_settings(self._without_credentials, self.app_dir)

    @cached_property
    def journal(self) -> "Journal":
        """The journal. It can be read even if routes are invalid or no credential for Azure DevOps is set.

        :raises JournalUnavailable: the journal cannot be opened.
        :raises CommandFailed: the journal does not exist. Reading must not create it.
        """
        from shared.journal.journal import Journal

        if not self.has_journal:
            raise CommandFailed(
                f"the journal {self.journal_name} does not exist; check JOURNAL_CONNECTION, or deliver an event, which "
                f"creates it{self._other_journal}"
            )
        return Journal(self.store)

    @property
    def has_journal(self) -> bool:
        """Whether the journal may exist. A file exists or not; for Azure Tables, only a request can tell."""
        from shared.journal.backends import backend_of

        connection = self.settings.journal_connection
        return backend_of(connection).may_exist(connection)

    def find_record(self, key: "JournalKey") -> "Record | None":
        """Return the current record; None if there is no record, or no journal yet.

        :raises JournalUnavailable: the journal does not answer.
        """
        return self.journal.get(key) if self.has_journal else None

    def cooldown_holder(self, key: "JournalKey", window: "Window") -> "Covered | Undecided | None":
        """Return what the current holder of the route's cooldown window means for another occurrence.

        :raises JournalUnavailable: the journal does not answer.
        """
        from shared.journal.cooldown import Cooldowns

        return Cooldowns(self.store, self.clock).peek(key, window) if self.has_journal else None

    def open_period(self, route: str, gather: "Gather") -> "Period | None":
        """Return the period of a route in which an event's group is counted now; None if there is none.

        :raises JournalUnavailable: the journal does not answer.
        """
        from shared.resume.period import group_key, open_period

        return open_period(self.find_record(group_key(route, gather.by)))

    @property
    def journal_name(self) -> str:
        """The place of the journal, without secrets, for people to read."""
        from shared.journal.backends import backend_of

        connection = self.settings.journal_connection
        return backend_of(connection).place(connection)

    @property
    def searched_journal(self) -> str:
        """The journal, for a message that it has nothing of what was asked for."""
        return f"the journal {self.journal_name}{self._other_journal}"

    @property
    def _other_journal(self) -> str:
        """How to ask the journal of the deployed app; empty if this may be it, or if azd has no environment here."""
        from shared.journal.backends import backend_of

        connection = self.settings.journal_connection
        is_in_azure = backend_of(connection).problem_in_azure(connection) is None
        if is_in_azure or not (self.app_dir / ".azure").is_dir():
            return ""
        return "; 'manage.py --deployed' asks the journal of the deployed app"

    def due_queue(self, *, to_write: bool = False) -> "DueQueue | None":
        """Return the queue of what is deferred; None if RESUME_STORAGE is not set. To be read, it is opened once.

        :param to_write: whether messages are changed. Reading must not change the file of an earlier version.
        :raises ResumeUnavailable: the queue cannot be opened.
        """
        if not to_write:
            return self.queue_to_read
        if not self.settings.has_resume:
            return None
        from shared.composition import open_due_queue, open_store

        return open_due_queue(self.settings, open_store(self.settings), self.clock)

    @cached_property
    def queue_to_read(self) -> "DueQueue | None":
        """The same queue, to be read."""
        if not self.settings.has_resume:
            return None
        from shared.composition import open_due_queue

        return open_due_queue(self.settings, self.store, self.clock)

    @property
    def lists_all_messages(self) -> bool:
        """Whether the queue of what is deferred tells of all its messages."""
        from shared.resume.queue import SQLITE

        return self.settings.resume_storage == SQLITE

    @cached_property
    def poison_queue(self) -> "PoisonQueue | None":
        """The queue of the messages that the app could not handle; None if no such queue exists."""
        if not self.settings.has_resume or self.lists_all_messages:
            return None
        from tools.actions.resume.azure_poison import open_poison_queue

        return open_poison_queue(self.settings)

    @cached_property
    def configuration(self) -> "Configuration":
        """Settings and routes, without credentials. A resume queue may be missing; see ``resume_problem``.

        :raises ConfigurationError: lists every problem.
        """
        from handlers import NAMES
        from shared.composition import read_configuration

        return read_configuration(self._without_credentials, self.app_dir, NAMES)

    @property
    def resume_problem(self) -> str:
        """Why the app would not start without a resume queue; empty if it would.

        :raises ConfigurationError: lists every problem of settings and routes.
        """
        from shared.composition import resume_problem

        return resume_problem(self.configuration)

    def check_start(self) -> None:
        """Check that the app would start. A dry run does this, because the command without --dry-run refuses as well.

        :raises ConfigurationError: lists every problem of settings and routes, or says that there is no resume queue.
        """
        if problem := self.resume_problem:
            raise InvalidSettings(problem)

    def decide_again(self, record: "Record") -> "Verdict":
        """Return what the current routes decide about the event of a record, without acting on it.

        :raises ConfigurationError: the app would not start; see ``check_start``.
        """
        from handlers import DISPATCH
        from shared.deciding import decide_again

        self.check_start()
        return decide_again(record, DISPATCH, self.configuration.routes)

    def decide(self, raw: str) -> "Verdict":
        """Return what the current routes decide about an event, without acting on it.

        :raises ConfigurationError: the routes are invalid.
        """
        from handlers import DISPATCH
        from shared.deciding import decide

        return decide(raw, DISPATCH, self.configuration.routes)

    def pipelines(self) -> "PipelinesClient":
        """Return a client for Azure DevOps with the app's credential. Nothing is sent yet.

        :raises ConfigurationError: lists every problem of the settings.
        """
        from shared.composition import pipelines_client
        from shared.settings import load_settings

        return pipelines_client(load_settings(self.environment, self.app_dir))

    def compose(self, report: "Report") -> "App":
        """Return the complete app, ready to handle events.

        :raises ConfigurationError: lists every problem.
        :raises JournalUnavailable: the journal cannot be opened.
        """
        from handlers import DISPATCH, NAMES
        from shared.composition import compose, load_configuration

        return compose(load_configuration(self.environment, self.app_dir, NAMES), DISPATCH, report=report)

    @cached_property
    def environment(self) -> Mapping[str, str]:
        """The application settings: the environment, and values that only local.settings.json sets.

        :raises CommandFailed: local.settings.json is invalid.
        """
        return self.environ if self.is_deployed else with_local_settings(self.environ, self.app_dir)

    @property
    def authorization_scheme(self) -> str:
        """The scheme of the Authorization header that the app sends to Azure DevOps."""
        return "Basic" if self.environment.get("AZURE_DEVOPS_AUTH", "").strip() == "pat" else "Bearer"

    @cached_property
    def store(self) -> "Store":
        """The journal's store, to be read. A file of an earlier version is not upgraded.

        :raises JournalUnavailable: the store cannot be opened.
        """
        from shared.composition import open_store_to_read

        return open_store_to_read(self.settings)

    @property
    def _without_credentials(self) -> Mapping[str, str]:
        # With any PAT, load_settings does not complain about missing credentials.
        pat = self.environment.get("AZURE_DEVOPS_EXT_PAT") or "-"
        return {**self.environment, "AZURE_DEVOPS_AUTH": "pat", "AZURE_DEVOPS_EXT_PAT": pat}
