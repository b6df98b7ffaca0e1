"""Route templates of HTTP triggers, in ASP.NET Core's notation, as far as function apps use it.

`runs/{id}`, `runs/{id:int}`, `runs/{id?}`, `files/{*path}`. Literal parts ignore case, as there. A parameter
is always a whole segment here (there, it may be a part of one).
"""

import re
from dataclasses import dataclass

from devstack.host.errors import IndexingFailed

_CONSTRAINTS = {
    "": r"[^/]+",
    "alpha": r"[A-Za-z]+",
    "bool": r"(?:[Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee])",
    "guid": r"[0-9A-Fa-f]{8}-?(?:[0-9A-Fa-f]{4}-?){3}[0-9A-Fa-f]{12}",
    "int": r"[+-]?\d+",
    "long": r"[+-]?\d+",
}
_PARAMETER = re.compile(r"\{(?P<all>\*{0,2})(?P<name>\w+)(?::(?P<constraint>[^?}]*))?(?P<optional>\??)\}")


@dataclass(frozen=True)
class RouteTemplate:
    """A template made ready: `pattern` matches a path without its slashes at the ends."""

    pattern: re.Pattern[str]
    precedence: tuple[int, ...]  # the lower, the earlier it is tried: literal, constrained, parameter, catch-all

    def match(self, path: str) -> dict[str, str] | None:
        """The route parameters of `path`, or None where it does not match."""
        found = self.pattern.fullmatch(path)
        if found is None:
            return None
        return {name: value for name, value in found.groupdict().items() if value}


def parse(template: str) -> RouteTemplate:
    """Reads a template, with the route prefix in it.

    :raises IndexingFailed: a part that this stand-in does not know.
    """
    pattern, precedence = "", []
    for segment in template.strip("/").split("/"):
        segment_pattern, rank = _segment(segment, template, first=not pattern)
        pattern += segment_pattern
        precedence.append(rank)
    return RouteTemplate(re.compile(pattern), tuple(precedence))


def _segment(segment: str, template: str, *, first: bool) -> tuple[str, int]:
    slash = "" if first else "/"
    if "{" not in segment and "}" not in segment:
        return f"(?i:{slash}{re.escape(segment)})", 0
    parameter = _PARAMETER.fullmatch(segment)
    constraint = (parameter["constraint"] or "") if parameter else ""
    if parameter is None or constraint not in _CONSTRAINTS:
        raise IndexingFailed(f"route {template!r}: the stand-in host cannot match {segment!r}")
    name = parameter["name"]
    if parameter["all"]:
        return f"(?:{slash}(?P<{name}>.*))?", 3
    value = f"{slash}(?P<{name}>{_CONSTRAINTS[constraint]})"
    return (f"(?:{value})?" if parameter["optional"] else value), 1 if constraint else 2
