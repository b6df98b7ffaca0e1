"""The journal backends that JOURNAL_CONNECTION can name. A new backend is a module of its own and one row here."""

from importlib import import_module
from typing import Final, NamedTuple, cast

from shared.journal.backend import Backend


class Row(NamedTuple):
    """One journal backend.

    :param name: the name in the docs and in messages.
    :param prefix: how its connections begin. An empty prefix matches every connection, so that row comes last.
    :param module: contains the ``Backend`` as ``BACKEND``. Imported only when needed, because it may be slow.
    """

    name: str
    prefix: str
    module: str


BACKENDS: Final = (
    Row("SQLite", "sqlite:", "shared.journal.sqlite"),
    Row("Azure Tables", "", "shared.journal.tables.backend"),
)


def backend_of(connection: str) -> Backend:
    """Return the backend that a connection names."""
    row = next(row for row in BACKENDS if connection.startswith(row.prefix))
    return cast("Backend", import_module(row.module).BACKEND)
