"""The kinds of journal that JOURNAL_CONNECTION can name. A new kind is its own module and one row here."""

from importlib import import_module
from typing import Final, NamedTuple, cast

from shared.journal.backend import Backend


class Row(NamedTuple):
    """A kind of journal.

    :param name: for people.
    :param prefix: what its connections begin with; empty: all that begin with none of the others.
    :param module: has the ``Backend`` as ``BACKEND``; imported only if a connection names it, as it may be slow.
    """

    name: str
    prefix: str
    module: str


BACKENDS: Final = (
    Row("SQLite", "sqlite:", "shared.journal.sqlite"),
    Row("Azure Tables", "", "shared.journal.tables.backend"),
)


def backend_of(connection: str) -> Backend:
    """Return the kind of journal that a connection names."""
    row = next(row for row in BACKENDS if connection.startswith(row.prefix))
    return cast("Backend", import_module(row.module).BACKEND)
