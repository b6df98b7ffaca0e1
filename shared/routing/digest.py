"""The digest of routes.yaml: a short text that tells whether two files decide alike. Pure.

It is made from the YAML as it is written: ``${NAME}`` counts, not the value that the environment has for it. So the
same file has the same digest on a laptop and in Azure. Comments, layout, the order of keys and ``causes``, which the
app ignores, do not count.
"""

import json
from hashlib import sha256
from typing import Any, Final

import yaml

LENGTH: Final = 8
_NOT_DECIDING: Final = "causes"
_ROUTE_DEPTH: Final = 2


def digest_of(root: yaml.Node) -> str:
    """Return the digest of a file without mistakes, in hex."""
    return sha256(json.dumps(_content(root)).encode()).hexdigest()[:LENGTH]


def _content(node: yaml.Node, depth: int = 0) -> Any:
    match node:
        case yaml.MappingNode():
            ignored = _NOT_DECIDING if depth == _ROUTE_DEPTH else None
            pairs = [(key.value, _content(value, depth + 1)) for key, value in node.value if key.value != ignored]
            return {"mapping": sorted(pairs, key=json.dumps)}
        case yaml.SequenceNode():
            return [_content(item, depth + 1) for item in node.value]
    return [node.tag, node.value]
