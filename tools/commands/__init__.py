"""The commands, one module each. A new module is a new command; if ``GROUPS`` does not name it, it is listed last."""

from collections.abc import Mapping
from typing import Final

GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "Write routes": ("new-route", "check", "test", "explain", "graph"),
    "Try them": ("preview", "doctor", "send"),
    "See what happened": ("page", "journal", "resume", "redrive", "waits"),
    "Connect the deployed app": ("connect", "disconnect"),
    "Set up your tools": ("completion", "schema"),
}
"""The commands by purpose, in the order in which a user needs them. ``--help`` and docs/commands.md use this order."""

OTHERS: Final = "Other commands"
