"""Parses YAML that people write. Pure.

libyaml composes nested collections recursively and without a limit, and a file with enough opening brackets ends the
process. It reports the events of a file without recursion, so these are counted first.
"""

from typing import Any, Final

import yaml

_MAX_DEPTH: Final = 100
_MAX_ALIASED_VALUES: Final = 10_000
_Loader: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _PlainDates(_Loader):  # type: ignore[misc]  # its type is not known
    """Reads dates as strings, as Azure Pipelines does."""

    yaml_implicit_resolvers: Final = {
        first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
        for first, resolvers in _Loader.yaml_implicit_resolvers.items()
    }


def compose(text: str, *, follows_aliases: bool = False) -> yaml.Node | None:
    """Return the root node; None if the text is empty.

    :param follows_aliases: whether the caller reads what aliases stand for without a limit of its own.
    :raises yaml.YAMLError: the text is not YAML, is nested too deeply, or its aliases repeat too much.
    """
    _check_depth(text)
    if follows_aliases:
        _check_aliases(text)
    return yaml.compose(text, Loader=_Loader)


def load(text: str) -> Any:
    """Return the content. Dates are strings.

    :raises yaml.YAMLError: the text is not YAML, is nested too deeply, or its aliases repeat too much.
    """
    _check_depth(text)
    _check_aliases(text)
    try:
        return yaml.load(text, Loader=_PlainDates)  # noqa: S506 - a safe loader
    except (AttributeError, LookupError, TypeError, ValueError) as exc:  # a tag that does not fit its value
        raise yaml.YAMLError(f"contains a value that does not fit its tag ({exc})") from exc


def _check_depth(text: str) -> None:
    depth = 0
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise yaml.YAMLError("contains half a surrogate pair, which is not Unicode text") from exc
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _MAX_DEPTH:
            mark: Any = event.start_mark
            problem = f"collections are nested more than {_MAX_DEPTH} levels deep"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=mark)


def _check_aliases(text: str) -> None:
    """Refuse aliases that stand for very many values or for their own parents: written as JSON, they have no end.

    :raises yaml.YAMLError: there is such an alias.
    """
    sizes: dict[str, int] = {}  # the number of values below each anchor, aliases included
    parents: list[tuple[str | None, int]] = []
    values = aliased = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent):
            size = sizes.get(str(event.anchor), 0)
            values += size
            aliased += size
            if aliased > _MAX_ALIASED_VALUES or event.anchor in [anchor for anchor, _ in parents]:
                mark: Any = event.start_mark
                problem = f"the alias *{event.anchor} stands for too many values; write them out"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=mark)
        elif isinstance(event, yaml.CollectionStartEvent):
            parents.append((event.anchor, values))
            values += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = parents.pop()
            sizes[str(anchor)] = values - before
        elif isinstance(event, yaml.ScalarEvent):
            values += 1
            sizes[str(event.anchor)] = 1
