"""Decides which workspace a wait means.

Two workspaces in different resource groups can have the same name, and their runs too. A wait therefore gets the
resource id of its workspace when it is registered. A name is enough only if one known workspace has it. Known are the
configured workspaces, and those whose runs have ended.
"""

import json
from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from shared.errors import InvalidWait
from shared.journal.journal import Journal
from shared.journal.records import JournalKey, Record, Selection, State
from shared.journal.stored_form import reading
from shared.waits.wait import WORKSPACES_PARTITION, read_each

_MAX_WORKSPACES: Final = 10_000
_MAX_SHOWN: Final = 5


class Workspaces:
    """The known workspaces. Thread-safe."""

    def __init__(self, journal: Journal, default: str | None, configured: Sequence[str] = ()) -> None:
        """
        :param default: the resource id in AML_WORKSPACE_ID, if it is set.
        :param configured: all configured resource ids. If there is only one, it is the default.
        """
        self._journal = journal
        self._configured = {_plain(each): "/" + each.strip("/") for each in (*configured, default) if each}
        if default is None and len(self._configured) == 1:
            (default,) = self._configured.values()
        self._default = None if default is None else "/" + default.strip("/")
        self._noted: set[str] = set()

    def note(self, workspace: str) -> None:
        """Remember a workspace in which a run has ended. Writes one record for each workspace.

        :raises JournalUnavailable: the store does not answer.
        """
        if _plain(workspace) in self._configured or _plain(workspace) in self._noted:
            return
        key = JournalKey(WORKSPACES_PARTITION, sha256(_plain(workspace).encode()).hexdigest())
        self._journal.write_once(key, State.NOTED, json.dumps(workspace))
        self._noted.add(_plain(workspace))

    def resolved(self, named: str | None, ended: str | None = None) -> str | None:
        """Return the resource id of the workspace that a request means; ``named`` if no such workspace is known.

        :param named: the name or resource id in the request.
        :param ended: a workspace in which a run has ended, which is known even if it is not noted.
        :raises InvalidWait: several workspaces may be meant.
        :raises JournalUnavailable: the store does not answer.
        """
        if named is None and self._default is not None:
            return self._default
        if named is not None and _is_id(named):
            return "/" + named.strip("/")
        found = self._found(named, ended)
        if len(found) > 1:
            shown = ", ".join(sorted(found)[:_MAX_SHOWN])
            what = "is missing" if named is None else f"is {named!r}"
            advice = f"but there are several such workspaces ({shown}); it must be the resource id of one of them"
            raise InvalidWait({"workspace": f"{what}, {advice}"})
        return found[0] if found else named

    def is_meant(self, named: str | None, workspace: str) -> bool | None:
        """Return whether a wait means this workspace, in which a run has ended; None if it may mean others too.

        :param named: ``Wait.workspace``.
        :raises JournalUnavailable: the store does not answer.
        """
        try:
            return same_workspace(self.resolved(named, workspace), workspace)
        except InvalidWait:
            return None if named is None or _plain(named) == _name(workspace) else False

    def _found(self, named: str | None, ended: str | None) -> list[str]:
        noted = self._journal.select(Selection(WORKSPACES_PARTITION), _MAX_WORKSPACES)
        known = [workspace for _, workspace in read_each(_read, noted)]
        known += [*self._configured.values(), *([] if ended is None else [ended])]
        meant = [workspace for workspace in known if named is None or _name(workspace) == _plain(named)]
        return list({_plain(workspace): workspace for workspace in meant}.values())


def same_workspace(one: str | None, other: str | None) -> bool:
    """Return whether two resource ids are those of the same workspace. Azure ignores their case."""
    return one is not None and other is not None and _plain(one) == _plain(other)


def _read(record: Record) -> str:
    with reading(record.key):
        if not isinstance(workspace := json.loads(record.document), str):
            raise TypeError("the workspace is not a string")
        workspace.encode()  # fails for half a surrogate pair
        return workspace


def _is_id(named: str) -> bool:
    return "/" in named.strip("/")


def _name(workspace: str) -> str:
    return _plain(workspace).rpartition("/")[2]


def _plain(workspace: str) -> str:
    return workspace.strip("/ ").lower()
