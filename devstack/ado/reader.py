"""Reads the nested mappings of a declaration strictly, and collects every problem instead of the first."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar, cast

Value = TypeVar("Value")

KINDS: dict[type, str] = {str: "text", int: "a whole number", bool: "true or false", list: "a list", dict: "a mapping"}


class _Required:
    """The default of a key that has none."""


REQUIRED = _Required()


@dataclass
class Problems:
    """What is wrong with one file, each with the key it is about."""

    file: str
    lines: list[str] = field(default_factory=list)

    def add(self, key: str, trouble: str) -> None:
        self.lines.append(f"{self.file}: {key}: {trouble}")


def of_kind(value: object, kind: type) -> bool:
    """Whether a YAML value is of a kind; true and false are no numbers here."""
    return isinstance(value, kind) and not (kind is int and isinstance(value, bool))


class MappingReader:
    """One mapping: every key is taken once, and ``finish`` complains about those that nobody took.

    What cannot be read is reported to ``problems`` and replaced by an empty value of the right kind, so that the
    reading goes on.
    """

    def __init__(self, value: object, where: str, problems: Problems) -> None:
        self.where = where
        self.problems = problems
        self._reported: set[object] = set()
        self._rest: dict[object, object] = {}
        if isinstance(value, dict):
            self._rest = dict(value)
        else:
            problems.add(where or "(top level)", f"must be a mapping, not {value!r}")

    def path(self, key: object) -> str:
        return f"{self.where}.{key}" if self.where else str(key)

    def trouble(self, key: object, text: str) -> None:
        """Reports the first problem of a key; what else seems wrong with it mostly follows from that."""
        if key not in self._reported:
            self._reported.add(key)
            self.problems.add(self.path(key), text)

    def has(self, key: str) -> bool:
        return key in self._rest

    def take(self, key: str, kind: type[Value], default: Value | _Required = REQUIRED) -> Value:
        """The value of ``key``; a missing one without a default, or one of another kind, is a problem."""
        if key not in self._rest:
            if not isinstance(default, _Required):
                return default
            self.trouble(key, "is missing")
            return kind()
        value = self._rest.pop(key)
        if of_kind(value, kind):
            return cast("Value", value)
        self.trouble(key, f"must be {KINDS[kind]}, not {value!r}")
        return kind()

    def take_any(self, key: str) -> object:
        """The value of a key, whatever it is; None for an absent one."""
        return self._rest.pop(key, None)

    def take_texts(self, key: str) -> tuple[str, ...]:
        """A list of different texts, absent meaning empty."""
        texts = self.take(key, list, [])
        for index, text in enumerate(texts):
            if not isinstance(text, str) or not text:
                self.trouble(f"{key}[{index}]", f"must be text, not {text!r}")
            elif text in texts[:index]:
                self.trouble(f"{key}[{index}]", f"{text!r} is there twice")
        return tuple(str(text) for text in texts)

    def take_mappings(self, key: str) -> list[MappingReader]:
        """A list of mappings, absent meaning empty."""
        items = self.take(key, list, [])
        return [MappingReader(item, self.path(f"{key}[{index}]"), self.problems) for index, item in enumerate(items)]

    def take_mapping(self, key: str) -> MappingReader:
        return MappingReader(self.take(key, dict), self.path(key), self.problems)

    def finish(self, allowed: str) -> None:
        """Complains about the keys that were not taken; ``allowed`` says which there are."""
        for key in self._rest:
            self.trouble(key, f"is not a known key; there are {allowed}")
