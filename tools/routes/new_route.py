"""The texts of a new route: its entry in routes.yaml, its pipeline's YAML, and its test case. Pure."""

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from handlers import event_type
from shared.routing import yaml_documents
from shared.routing.templates import Expression, InvalidExpression, literal_placeholders, parse_template, scope_names
from tools.errors import CommandFailed
from tools.events.samples import sample_event

_EXAMPLE: Final = re.compile(r"\s*([A-Za-z_][\w.]*)\s*=(?!=)\s*(.*?)\s*", re.DOTALL)
_PARAMETER: Final = re.compile(r"\s*([A-Za-z_]\w*)\s*=(?!=)(.*)", re.DOTALL)
_NAME: Final = re.compile(r"[A-Za-z_][\w.]*")
_LITERAL_KINDS: Final = {"number", "boolean", "list", "object"}

_JOB: Final = """\
pool:
  vmImage: ubuntu-latest

stages:
  - stage: run
    jobs:
      - job: run
        timeoutInMinutes: 60
        steps:
          - checkout: self
            fetchDepth: 1""".splitlines()
_REPLACE: Final = "          # Replace this step by what the pipeline does."
_IN_ENV: Final = (
    "          # Pass values in env, as here. The shell would execute a value that is put into the script with ${{ }}."
)
_SHOW: Final = '          - bash: for name in ${!VALUE_@}; do echo "$name=${!name}"; done'
"""JSON has several lines, so ``env | grep`` would not do."""


@dataclass(frozen=True, slots=True)
class NewRoute:
    """The answers to the questions.

    :param when: a condition, or an empty string for every event of the type.
    :param parameters: the templates of the parameters by name. JSON is an object or a list.
    """

    name: str
    event: str
    pipeline: str
    when: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)

    def entry(self) -> list[str]:
        """Return the lines of the route in routes.yaml, not indented."""
        lines = [f"name: {_scalar(self.name)}", f"event: {self.event}"]
        if self.when:
            lines.append(f"when: {_scalar(self.when)}")
        lines.append(f"pipeline: {_scalar(self.pipeline)}")
        if self.parameters:
            lines.append("parameters:")
            lines += [f"  {name}: {_yaml(text)}" for name, text in self.parameters.items()]
        return lines


def condition(answer: str, event: str) -> str:
    """Return the condition for an answer: JMESPath as it is, and an example such as ``experiment_name=churn``.

    Several examples and conditions may be joined with ``&&``.

    :raises CommandFailed: the condition is invalid, or uses a name that the event does not have.
    """
    parts, text = answer.split("&&"), answer.strip()
    if any(map(_EXAMPLE.fullmatch, parts)):
        text = " && ".join(filter(None, (_from_example(part, event) for part in parts)))
    return _valid(Expression, text, event) if text else ""


def _valid(parse: Callable[[str, Mapping[str, Collection[str]]], object], text: str, event: str) -> str:
    names = scope_names(event_type(event).names)
    try:
        parse(text, names)
    except InvalidExpression as exc:
        raise CommandFailed(f"'{text}' " + "; ".join(fault.text for fault in exc.faults)) from exc
    if parse is parse_template and (doubts := literal_placeholders(text, names)):
        raise CommandFailed(f"'{text}' {doubts[0].text}")
    return text


def _from_example(part: str, event: str) -> str:
    example = _EXAMPLE.fullmatch(part)
    if example is None:
        return part.strip()
    name, value = example.groups()
    value = value.strip("'\"")
    declared = event_type(event).names.get(name)
    if declared is not None and declared.kind in _LITERAL_KINDS:
        return f"{name} == `{value}`"
    return "{} == '{}'".format(name, value.replace("\\", "\\\\").replace("'", "\\'"))


def parameter(answer: str, event: str) -> tuple[str, str]:
    """Return the name and template of a parameter: ``run_id`` is short for ``runId={{ run_id }}``.

    The template may be a JSON object or list with placeholders in its strings, which are checked with the whole route.

    :raises CommandFailed: the answer has neither form, its placeholder is invalid, or its object is not JSON.
    """
    if found := _PARAMETER.fullmatch(answer):
        text = found[2].strip()
        try:
            is_json = _json_value(text) is not None
        except ValueError as exc:
            raise CommandFailed(f"'{text}' is not JSON: {exc}; write names and strings in double quotes") from exc
        return found[1], text if is_json else _valid(parse_template, text, event)
    if not _NAME.fullmatch(answer):
        raise CommandFailed(f"'{answer}' is neither a name such as run_id nor NAME=VALUE")
    first, *others = answer.rpartition(".")[2].split("_")
    name = first + "".join(word.capitalize() for word in others)
    return name, _valid(parse_template, f"{{{{ {answer} }}}}", event)


def _json_value(text: str) -> Any:
    """Return the object or list that a template is written as; None if it is other text.

    :raises ValueError: it is not JSON.
    """
    if text.startswith("{{") or text[:1] + text[-1:] not in {"{}", "[]"}:
        return None
    try:
        value = json.loads(text)
        json.dumps(value, allow_nan=False)  # refuses what Python reads, but JSON does not have
    except RecursionError as exc:
        raise ValueError("it is nested too deeply") from exc
    return value


def _yaml(text: str) -> str:
    """Return a template in the form in which routes.yaml has it: in double quotes, or as an object or a list."""
    value = _json_value(text)
    return json.dumps(text if value is None else value, ensure_ascii=False)


def with_item(text: str, key: str, lines: Sequence[str]) -> str:
    """Return a YAML text with one more item at the end of a top-level list. Everything else stays as it is.

    :param lines: the item, not indented.
    :raises CommandFailed: the text has no such list, or it is not written with dashes.
    """
    node = _list_node(text, key)
    written = text.splitlines(keepends=True)
    if written and not written[-1].endswith("\n"):
        written[-1] += "\n"
    if node.flow_style and node.value:
        raise CommandFailed(
            f"the list '{key}' is written in brackets; write each item on lines of its own, with a dash"
        )
    if node.flow_style:  # []
        line = node.start_mark.line
        written[line] = re.sub(r"\s*\[\s*\]", "", written[line], count=1)
        at, column = line + 1, 2
    else:
        column = node.start_mark.column
        at = node.end_mark.line + (1 if node.end_mark.column else 0)
        while at > 0 and _is_behind(written[at - 1], column):
            at -= 1
    indented = [" " * column + ("- " if number == 0 else "  ") + line + "\n" for number, line in enumerate(lines)]
    return "".join([*written[:at], *(["\n"] if len(node.value) else []), *indented, *written[at:]])


def _list_node(text: str, key: str) -> yaml.SequenceNode:
    try:
        root = yaml_documents.compose(text)
    except yaml.YAMLError as exc:
        raise CommandFailed(f"the file is not YAML: {' '.join(str(exc).split())}") from exc
    entries = root.value if isinstance(root, yaml.MappingNode) else []
    found = [value for name, value in entries if name.value == key]
    if not found or not isinstance(found[0], yaml.SequenceNode):
        raise CommandFailed(f"the file has no list '{key}'")
    return found[0]


def _is_behind(line: str, column: int) -> bool:
    """Return whether a line is behind the list: it is empty, or a comment that does not belong to the last item."""
    content = line.strip()
    return not content or (content.startswith("#") and len(line) - len(line.lstrip()) <= column)


def pipeline_text(route: NewRoute, *, with_check: bool) -> str:
    """Return the YAML of a pipeline that has the route's parameters and shows them.

    :param with_check: whether there is a template that checks the parameters, as in this project.
    """
    lines = [f"# Queued by the route {route.name}.", "trigger: none", "pr: none", ""]
    if route.parameters:
        lines += ["parameters:", *(line for each in route.parameters.items() for line in _declared(*each)), ""]
    lines += _JOB
    if not route.parameters:
        return "\n".join([*lines, _REPLACE, "          - bash: echo 'queued by nextstage'", ""])
    texts = [name for name, text in route.parameters.items() if _json_value(text) is None]
    values = {name: f"${{{{ convertToJson(parameters.{name}) }}}}" for name in route.parameters}
    values |= {name: f"${{{{ parameters.{name} }}}}" for name in texts}
    if with_check and texts:
        lines += [
            "          - template: templates/stage-parameters.yml",
            "            parameters:",
            "              values:",
        ]
        lines += [f"                {name}: {values[name]}" for name in texts]
    lines += [_REPLACE, _IN_ENV, _SHOW, "            env:"]
    lines += [f"              VALUE_{name}: {value}" for name, value in values.items()]
    return "\n".join([*lines, ""])


def _declared(name: str, text: str) -> Iterator[str]:
    yield f"  - name: {name}"
    yield f"    type: {'string' if _json_value(text) is None else 'object'}"


def changes(event: str, document: Mapping[str, Any]) -> dict[str, Any]:
    """Return how an event differs from the sample event of its type, as paths and values for ``--set``."""
    return dict(_changes(sample_event(event), document, ()))


def _changes(before: Any, after: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in {**before, **after}:
            yield from _changes(before.get(key), after.get(key), (*path, key))
    elif before != after:
        yield ".".join(f'"{key}"' if "." in key or "=" in key else key for key in path), after


def case_entry(name: str, event: str, changed: Mapping[str, Any], runs: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the lines of a test case, not indented."""
    given: dict[str, Any] = {"sample": event, **({"set": dict(changed)} if changed else {})}
    document = {"name": name, "given": given, "expect": {route: dict(run) for route, run in runs.items()}}
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=10**6).splitlines()


def _scalar(text: str) -> str:
    """Return a string as YAML: plain if that is possible, else in double quotes."""
    try:
        is_plain = yaml.safe_load(f"k: {text}") == {"k": text}
    except yaml.YAMLError:
        is_plain = False
    return text if is_plain else json.dumps(text, ensure_ascii=False)
