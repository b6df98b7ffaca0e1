"""Parses YAML that people write. Pure.

libyaml composes nested collections recursively and without a limit, and a file with enough opening brackets ends the
process. It reports the events of a file without recursion, so these are counted first.
"""

from typing import Any, Final

import yaml

_MAX_DEPTH: Final = 100
_Loader: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _PlainDates(_Loader):  # type: ignore[misc]  # its type is not known
    """Reads dates as strings, as Azure Pipelines does."""

    yaml_implicit_resolvers: Final = {
        first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
        for first, resolvers in _Loader.yaml_implicit_resolvers.items()
    }


def compose(text: str) -> yaml.Node | None:
    """Return the root node; None if the text is empty.

    :raises yaml.YAMLError: the text is not YAML, or is nested too deeply.
    """
    _check_depth(text)
    return yaml.compose(text, Loader=_Loader)


def load(text: str) -> Any:
    """Return the content. Dates are strings.

    :raises yaml.YAMLError: the text is not YAML, or is nested too deeply.
    """
    _check_depth(text)
    try:
        return yaml.load(text, Loader=_PlainDates)  # noqa: S506 - a safe loader
    except (AttributeError, LookupError, TypeError, ValueError) as exc:  # a tag that does not fit its value
        raise yaml.YAMLError(f"contains a value that does not fit its tag ({exc})") from exc


def _check_depth(text: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _MAX_DEPTH:
            mark: Any = event.start_mark
            problem = f"collections are nested more than {_MAX_DEPTH} levels deep"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=mark)
