"""Changes values in a YAML text. Comments, order and layout of everything else stay as they are. Pure."""

import json
from collections.abc import Iterable, Iterator, Mapping
from textwrap import indent
from typing import Any, Final, NamedTuple

import yaml

from shared.routing.yaml_nodes import TAG, plain_value
from tools.errors import CommandFailed

_WIDEST: Final = 10**9


class Edit(NamedTuple):
    """The text that replaces a part of the file."""

    start: int
    end: int
    text: str


def edited(text: str, edits: Iterable[Edit]) -> str:
    """Return the text with all edits. They must not overlap, but may repeat: an alias stands for a whole case."""
    done, at = [], 0
    for edit in sorted(dict.fromkeys(edits), key=lambda each: each[:2]):
        done += [text[at : edit.start], edit.text]
        at = edit.end
    return "".join([*done, text[at:]])


def edits(text: str, node: yaml.MappingNode, values: Mapping[str, Any]) -> Iterator[Edit]:
    """Yield the edits after which a mapping has these values.

    :param values: by key, the new value; None removes the key. All other keys stay.
    :raises CommandFailed: the layout of the file makes it impossible.
    """
    known = {key.value: (key, value) for key, value in node.value}
    if node.flow_style:
        yield from _flow_edits(text, node, values)
        return
    following: list[yaml.Node | None] = [*(key for key, _ in node.value[1:]), None]
    for (name, (key, value)), after in zip(known.items(), following, strict=True):
        if name in values and values[name] is None:
            yield _removal(text, key, value, after)
        elif name in values:
            yield from _value_edits(text, key, value, values[name])
    added = {name: value for name, value in values.items() if name not in known and value is not None}
    if added:
        kept = [value for name, (_, value) in known.items() if values.get(name, value) is not None]
        at = _end_of_line(text, _end(text, kept[-1]))
        yield Edit(at, at, "\n" + _block(added, node.start_mark.column))


def _flow_edits(text: str, node: yaml.MappingNode, values: Mapping[str, Any]) -> Iterator[Edit]:
    """Yield the edits of a mapping in braces. If its keys change, all of it is written again."""
    known = {key.value: (key, value) for key, value in node.value}
    if all((name in known) == (value is not None) for name, value in values.items()):
        for name, value in values.items():
            if value is not None:
                yield from _value_edits(text, *known[name], value, is_flow=True)
        return
    new = {**{name: plain(value) for name, (_, value) in known.items()}, **values}
    yield Edit(_start(node), _end(text, node), _flow({name: value for name, value in new.items() if value is not None}))


def _value_edits(text: str, key: yaml.Node, node: yaml.Node, new: Any, *, is_flow: bool = False) -> Iterator[Edit]:
    """Yield the edits that give a key another value."""
    if _is_same(node, new):
        return
    if _start(node) < key.end_mark.index or text.startswith("&", _start(node)):
        line = key.start_mark.line + 1
        raise CommandFailed(f"line {line}: '{key.value}' is an alias or has an anchor, so other values depend on it")
    colon = text.index(":", key.end_mark.index) + 1
    is_object = isinstance(new, dict) and bool(new)
    is_block = isinstance(node, yaml.CollectionNode) and not node.flow_style
    if isinstance(node, yaml.MappingNode) and is_object and {each.value for each, _ in node.value} & {*new}:
        gone = {each.value: None for each, _ in node.value if each.value not in new}
        yield from edits(text, node, {**gone, **new})
    elif is_block and is_object:
        yield Edit(_start(node), _end(text, node), _block(new, node.start_mark.column).lstrip(" "))
    elif is_block:
        yield Edit(colon, colon, f" {_flow(new)}")
        yield Edit(text.rindex("\n", 0, _start(node)), _end(text, node), "")
    elif is_object and isinstance(node, yaml.ScalarNode) and not is_flow:
        is_below_comment = "#" in text[colon : _start(node)]
        start = text.rindex("\n", 0, _start(node)) if is_below_comment else colon
        yield Edit(start, max(start, _end(text, node)), "")
        at = _end_of_line(text, max(colon, _end(text, node)))
        yield Edit(at, at, "\n" + _block(new, key.start_mark.column + 2))
    elif _is_empty(node):
        yield Edit(colon, colon, f" {_flow(new)}")
    else:
        yield Edit(_start(node), _end(text, node), _flow(new))


def _removal(text: str, key: yaml.Node, node: yaml.Node, following: yaml.Node | None) -> Edit:
    """Return the edit that removes an entry with its lines, and with the comment at its end.

    :param following: the key of the next entry, which takes the place of an entry behind the dash of a list.
    """
    line_start = text.rfind("\n", 0, _start(key))
    if following is not None and text[line_start : _start(key)].strip():
        return Edit(_start(key), _start(following), "")
    return Edit(line_start, _end_of_line(text, _end_of_value(text, key, node)), "")


def _is_same(node: yaml.Node, new: Any) -> bool:
    return json.dumps(plain(node)) == json.dumps(new)


def plain(node: yaml.Node) -> Any:
    """Return the value of a node. Dates are strings, as in Azure Pipelines.

    :raises WrongValue: the node has a tag that is not that of a string, a number, a boolean, a list or an object.
    """
    if isinstance(node, yaml.MappingNode):
        return {key.value: plain(value) for key, value in node.value}
    if isinstance(node, yaml.SequenceNode):
        return [plain(item) for item in node.value]
    if node.tag == f"{TAG}null":
        return None
    return node.value if node.tag == f"{TAG}timestamp" else plain_value(node)


def _is_empty(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.start_mark.index == node.end_mark.index


def _start(node: yaml.Node) -> int:
    return int(node.start_mark.index)


def _end(text: str, node: yaml.Node) -> int:
    """Return where a node ends. PyYAML's mark is behind the comments and empty lines that follow a block."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style:
        last = node.value[-1]
        return _end_of_value(text, *last) if isinstance(node, yaml.MappingNode) else _end(text, last)
    end = int(node.end_mark.index)
    is_exact = not isinstance(node, yaml.ScalarNode) or (node.style not in {"|", ">"} and not _is_empty(node))
    return end if is_exact else len(text[:end].rstrip())


def _end_of_value(text: str, key: yaml.Node, node: yaml.Node) -> int:
    is_alias = _start(node) < key.end_mark.index
    return _end_of_line(text, key.end_mark.index) if is_alias else _end(text, node)


def _end_of_line(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end


def _flow(value: Any) -> str:
    """Return a value on one line."""
    return _dumped([value], is_flow=True)[1:-2]


def _block(value: Mapping[str, Any], column: int) -> str:
    """Return a mapping on lines of its own, without the last line break."""
    return indent(_dumped(dict(value), is_flow=False), " " * column).rstrip("\n")


def _dumped(value: Any, *, is_flow: bool) -> str:
    dumped: str = yaml.safe_dump(value, default_flow_style=is_flow, sort_keys=False, allow_unicode=True, width=_WIDEST)
    return dumped
