"""The sources of events: a file, a folder, or a blob container."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import typer

from shared.composition import identity_factory
from tools.errors import CommandFailed
from tools.events import dead_letter_blobs, dead_letters
from tools.events.dead_letters import STDIN, Source
from tools.installation import Installation

DEFAULT_CONNECTION_ENV: Final = "AZURE_STORAGE_CONNECTION_STRING"

ConnectionOption = Annotated[
    str | None,
    typer.Option(
        "--connection-string-env",
        metavar="NAME",
        help="The environment variable that holds the container's connection string.  "
        f"[default: {DEFAULT_CONNECTION_ENV}]",
    ),
]


def sources(installation: Installation, path: str, connection_env: str | None) -> Iterator[Source]:
    """Return the files at a path, the blobs of a container's URL, or standard input for ``-``.

    :param connection_env: the environment variable that the operator names for the container's connection string.
    :raises CommandFailed: the path does not exist, or access to it is denied.
    """
    if path == STDIN:
        return iter([("standard input", sys.stdin.buffer.read)])
    if not path.lower().startswith(("https://", "http://")):
        return dead_letters.local_files(Path(path))
    place = dead_letter_blobs.blob_place(path)
    connection = installation.environment.get(connection_env or DEFAULT_CONNECTION_ENV, "")
    if connection_env and not connection:
        raise CommandFailed(f"the environment variable {connection_env} is not set; set it to a connection string")
    access = dead_letter_blobs.BlobAccess(
        make_identity=identity_factory(installation.settings),
        connection_string=connection,
        is_required=connection_env is not None,
    )
    return dead_letter_blobs.blobs(place, access)
