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


def digest_of(root: yaml.Node) -> str:
    """Return the digest of a file without mistakes, in hex."""
    return sha256(json.dumps(_content(root)).encode()).hexdigest()[:LENGTH]


def _content(node: yaml.Node) -> Any:
    match node:
        case yaml.MappingNode():
            pairs = [(_content(key), _content(value)) for key, value in node.value if key.value != _NOT_DECIDING]
            return {"mapping": sorted(pairs, key=json.dumps)}
        case yaml.SequenceNode():
            return [_content(item) for item in node.value]
    return [node.tag, node.value]
