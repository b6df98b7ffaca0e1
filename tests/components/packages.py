"""The dependencies of installed packages."""

import sys
from collections.abc import Sequence
from importlib.metadata import distributions

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def closure(*names: str, path: Sequence[str] = tuple(sys.path)) -> set[str]:
    """Return the packages and all their dependencies on this platform.

    :param path: the folders in which the packages are installed.
    """
    installed = {canonicalize_name(each.metadata["Name"]): each for each in distributions(path=list(path))}
    found: set[str] = set()
    left = [canonicalize_name(name) for name in names]
    while left:
        name = left.pop()
        if name in found:
            continue
        found.add(name)
        wanted = [Requirement(text) for text in installed[name].requires or []]
        left += [
            canonicalize_name(each.name)
            for each in wanted
            if each.marker is None or each.marker.evaluate({"extra": ""})
        ]
    return found
