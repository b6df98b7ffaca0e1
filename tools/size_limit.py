"""Reads files up to a size, since a device such as ``/dev/zero`` has no end."""

import errno
import os
from pathlib import Path
from typing import Final

MAX_BYTES: Final = 64 * 2**20


def read_bytes(path: Path) -> bytes:
    """Return the content of a file.

    :raises OSError: the file cannot be read, or is too large.
    """
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
    return content
