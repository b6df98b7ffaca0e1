"""The app that the commands are about: its settings, journal and routes, each read when a command needs it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Self

from handlers import DISPATCH, NAMES
from shared.azure_devops.client import PipelinesClient
from shared.clock import Clock, utc_now
from shared.composition import App, Configuration, compose, load_configuration, open_store, pipelines_client
from shared.deciding import Verdict, decide
from shared.journal.backends import backend_of
from shared.journal.cooldown import Cooldowns, Covered, Undecided, Window
from shared.journal.journal import Journal
from shared.journal.records import JournalKey, Record, Store
from shared.settings import Settings, load_settings
from shared.telemetry import Report
from tools.errors import CommandFailed
from tools.local_settings import with_local_settings


@dataclass(frozen=True)
class Installation:
    """One installation of the app, as seen from a shell.

    :param app_dir: where function_app.py is.
    :param environ: the environment; local.settings.json is looked at below it.
    :param clock: for ages and for what would happen now; the app itself has its own.
    """

    app_dir: Path
    environ: Mapping[str, str]
    clock: Clock = utc_now

    def with_routes(self, file: Path | None) -> Self:
        """The same with another dispatch table; None changes nothing."""
        return self if file is None else replace(self, environ={**self.environ, "ROUTES_FILE": str(file.absolute())})

    @cached_property
    def settings(self) -> Settings:
        """The settings as far as the journal and the routes need them: no credential has to be there.

        :raises InvalidSettings: with every problem.
        """
        return load_settings(self._without_credentials, self.app_dir)

    @cached_property
    def journal(self) -> Journal:
        """The journal alone: routes may be broken, and no credential for Azure DevOps is asked for.

        :raises JournalUnavailable: it cannot be opened.
        :raises CommandFailed: there is none; looking at it must not make one.
        """
        if not self.has_journal:
            raise CommandFailed(
                f"there is no journal {self.journal_name}; check JOURNAL_CONNECTION, or deliver a first event, which "
                "makes it"
            )
        return Journal(self._store)

    @property
    def has_journal(self) -> bool:
        """Whether there may be one to look at; a file is there or not, and Azure Tables must be asked."""
        connection = self.settings.journal_connection
        return backend_of(connection).may_exist(connection)

    def present(self, key: JournalKey) -> Record | None:
        """The record that is there now; None where there is none, or no journal yet.

        :raises JournalUnavailable: the journal does not answer.
        """
        return self.journal.get(key) if self.has_journal else None

    def in_the_way(self, key: JournalKey, window: Window) -> Covered | Undecided | None:
        """The occurrence that holds the route's cooldown window now, as far as it concerns another one.

        :raises JournalUnavailable: the journal does not answer.
        """
        return Cooldowns(self._store, self.clock).peek(key, window) if self.has_journal else None

    @property
    def journal_name(self) -> str:
        """Where the journal is, for people; nothing secret."""
        connection = self.settings.journal_connection
        return backend_of(connection).place(connection)

    @cached_property
    def configuration(self) -> Configuration:
        """Settings and routes, without credentials.

        :raises ConfigurationError: with every problem.
        """
        return load_configuration(self._without_credentials, self.app_dir, NAMES)

    def decide(self, raw: str) -> Verdict:
        """What the routes of today say of an event; does nothing.

        :raises ConfigurationError: the routes are wrong.
        """
        return decide(raw, DISPATCH, self.configuration.routes)

    def pipelines(self) -> PipelinesClient:
        """The way to Azure DevOps, with the app's credential; nothing is asked yet.

        :raises ConfigurationError: with every problem of the settings.
        """
        return pipelines_client(load_settings(self.environment, self.app_dir))

    def compose(self, report: Report) -> App:
        """The whole app, to act with.

        :raises ConfigurationError: with every problem.
        :raises JournalUnavailable: the journal cannot be opened.
        """
        return compose(load_configuration(self.environment, self.app_dir, NAMES), DISPATCH, report=report)

    @cached_property
    def environment(self) -> Mapping[str, str]:
        """The application settings.

        :raises CommandFailed: local.settings.json is broken.
        """
        return with_local_settings(self.environ, self.app_dir)

    @property
    def authorization_scheme(self) -> str:
        """How the app proves to Azure DevOps who it is, as the Authorization header names it."""
        return "Basic" if self.environment.get("AZURE_DEVOPS_AUTH", "").strip() == "pat" else "Bearer"

    @cached_property
    def _store(self) -> Store:
        return open_store(self.settings)

    @property
    def _without_credentials(self) -> Mapping[str, str]:
        # With a PAT, whichever it is, nothing about credentials is checked before one is needed.
        pat = self.environment.get("AZURE_DEVOPS_EXT_PAT") or "-"
        return {**self.environment, "AZURE_DEVOPS_AUTH": "pat", "AZURE_DEVOPS_EXT_PAT": pat}
