"""What the emulated project holds: branches, credentials and pipelines, read from a YAML file.

The file is read once and strictly. ``DeclarationError`` lists everything that is wrong with it, each problem with
the file and the key.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from devstack.ado.reader import MappingReader, Problems, Value
from devstack.ado.runs.parameters import PARAMETER_TYPES, ParameterDeclaration, as_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from devstack.ado.tasks.records import EarlyEvents

DEFAULT_FILE = Path(__file__).with_name("pipelines.yaml")


class DeclarationError(Exception):
    """A declaration that cannot be used; ``problems`` has one line for each thing that is wrong."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class SecretSource:
    """Where an accepted secret comes from: an environment variable or, where that is unset or empty, a default."""

    environment: str
    default: str

    def resolve(self, environment: Mapping[str, str]) -> str:
        return environment.get(self.environment) or self.default


IDENTITY_HEADER = SecretSource("DEVSTACK_IDENTITY_HEADER", "devstack-identity")
"""What a client of the emulated managed identity must show in X-IDENTITY-HEADER, unless something else is said."""


@dataclass(frozen=True)
class VariableDeclaration:
    """A pipeline variable; only a settable one may be given when a run is queued."""

    name: str
    default: str = ""
    settable: bool = False


@dataclass(frozen=True)
class PipelineDeclaration:
    """One pipeline. ``may_queue`` says whether the emulator's credentials have the permission to queue it."""

    id: int
    name: str
    folder: str = "\\"
    revision: int = 1
    parameters: tuple[ParameterDeclaration, ...] = ()
    variables: tuple[VariableDeclaration, ...] = ()
    stages: tuple[str, ...] = ()
    disabled: bool = False
    may_queue: bool = True

    @cached_property
    def parameter_by_name(self) -> dict[str, ParameterDeclaration]:
        return {parameter.name: parameter for parameter in self.parameters}

    @cached_property
    def defaults(self) -> dict[str, str]:
        """The template parameters of a run that gives none."""
        return {each.name: each.default for each in self.parameters if each.default is not None}

    @cached_property
    def settable_variables(self) -> frozenset[str]:
        """Names in lower case: Azure DevOps does not tell ``System.Debug`` from ``system.debug``."""
        return frozenset(variable.name.lower() for variable in self.variables if variable.settable)


@dataclass(frozen=True)
class AgentlessDeclaration:
    """How the service behaves towards agentless tasks. The first three are Azure DevOps' own figures.

    ``timeout_minutes``: how long a job waits that says nothing else. ``call_timeout_seconds``: how long a task waits
    for the answer to its request. ``token_hours``: how long a job token lives. ``early_events`` (taken or dropped) and
    ``ended_plan_status`` (404 or 410) are not documented; see ``devstack/ado/tasks/hub.py``.
    """

    timeout_minutes: int = 60
    call_timeout_seconds: float = 20
    token_hours: int = 48
    early_events: EarlyEvents = "taken"
    ended_plan_status: int = 404


@dataclass(frozen=True)
class Declaration:
    """The emulated organisation with its one project."""

    organization: str
    project: str
    branches: tuple[str, ...]
    pat: SecretSource
    token: SecretSource
    pipelines: tuple[PipelineDeclaration, ...]
    identity_header: SecretSource = IDENTITY_HEADER
    agentless: AgentlessDeclaration = AgentlessDeclaration()

    @cached_property
    def project_id(self) -> str:
        """The project's GUID: the same for the same names, so that URLs survive a restart."""
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{self.organization}/{self.project}".lower()))

    @cached_property
    def pipeline_by_id(self) -> dict[int, PipelineDeclaration]:
        return {pipeline.id: pipeline for pipeline in self.pipelines}

    @cached_property
    def branch_refs(self) -> frozenset[str]:
        return frozenset(f"refs/heads/{branch}" for branch in self.branches)

    @property
    def default_branch_ref(self) -> str:
        return f"refs/heads/{self.branches[0]}"


def load_declaration(file: Path = DEFAULT_FILE) -> Declaration:
    """Reads a declaration.

    :raises DeclarationError: with everything that is wrong with the file.
    """
    problems = Problems(str(file))
    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as exc:
        raise DeclarationError([f"{file}: cannot be read: {exc.strerror}"]) from exc
    except (yaml.YAMLError, UnicodeDecodeError) as exc:
        raise DeclarationError([f"{file}: is not YAML: {exc}"]) from exc
    declaration = _read(MappingReader(document, "", problems))
    if problems.lines:
        raise DeclarationError(problems.lines)
    return declaration


def _read(reader: MappingReader) -> Declaration:
    credentials = reader.take_mapping("credentials") if reader.has("credentials") else None
    declaration = Declaration(
        organization=_name(reader, "organization"),
        project=_name(reader, "project"),
        branches=reader.take_texts("branches"),
        pat=_secret(credentials, "pat", SecretSource("DEVSTACK_PAT", "devstack-pat")),
        token=_secret(credentials, "token", SecretSource("DEVSTACK_TOKEN", "devstack-token")),
        pipelines=tuple(_pipeline(each) for each in reader.take_mappings("pipelines")),
        identity_header=_secret(credentials, "identity_header", IDENTITY_HEADER),
        agentless=_agentless(reader.take_mapping("agentless")) if reader.has("agentless") else AgentlessDeclaration(),
    )
    if credentials:
        credentials.finish("pat, token, identity_header")
    reader.finish("organization, project, branches, credentials, agentless, pipelines")
    if not declaration.branches:
        reader.trouble("branches", "must name at least one branch")
    if not declaration.pipelines:
        reader.trouble("pipelines", "must declare at least one pipeline")
    _check_unique(declaration, reader)
    return declaration


def _check_unique(declaration: Declaration, reader: MappingReader) -> None:
    ids: set[int] = set()
    paths: set[tuple[str, str]] = set()
    for index, pipeline in enumerate(declaration.pipelines):
        path = (pipeline.folder.lower(), pipeline.name.lower())
        if pipeline.id in ids:
            reader.trouble(f"pipelines[{index}].id", f"{pipeline.id} is the id of another pipeline already")
        if path in paths:
            reader.trouble(f"pipelines[{index}].name", f"{pipeline.name!r} is in that folder already")
        ids.add(pipeline.id)
        paths.add(path)


def _name(reader: MappingReader, key: str) -> str:
    """A name that can be part of a URL's path and is not empty."""
    name = reader.take(key, str)
    if not name.strip() or "/" in name:
        reader.trouble(key, f"must be a name without '/', not {name!r}")
    return name


def _positive(reader: MappingReader, key: str, default: int | None = None) -> int:
    number = reader.take(key, int) if default is None else reader.take(key, int, default)
    if number < 1:
        reader.trouble(key, f"must be 1 or more, not {number}")
    return number


def _secret(credentials: MappingReader | None, key: str, otherwise: SecretSource) -> SecretSource:
    if credentials is None or not credentials.has(key):
        return otherwise
    reader = credentials.take_mapping(key)
    source = SecretSource(_name(reader, "environment"), reader.take("default", str))
    reader.finish("environment, default")
    if not source.default:
        reader.trouble("default", "must not be empty: everybody would be let in")
    return source


def _agentless(reader: MappingReader) -> AgentlessDeclaration:
    default = AgentlessDeclaration()
    declaration = AgentlessDeclaration(
        timeout_minutes=_positive(reader, "timeout_minutes", default.timeout_minutes),
        call_timeout_seconds=_positive(reader, "call_timeout_seconds", int(default.call_timeout_seconds)),
        token_hours=_positive(reader, "token_hours", default.token_hours),
        early_events=_one_of(reader, "early_events", ("taken", "dropped"), default.early_events),
        ended_plan_status=_one_of(reader, "ended_plan_status", (404, 410), default.ended_plan_status),
    )
    reader.finish("timeout_minutes, call_timeout_seconds, token_hours, early_events, ended_plan_status")
    return declaration


def _one_of(reader: MappingReader, key: str, values: tuple[Value, ...], default: Value) -> Value:
    value = reader.take(key, type(default), default)
    if value not in values:
        reader.trouble(key, f"must be {' or '.join(str(each) for each in values)}, not {value!r}")
        return default
    return value


def _pipeline(reader: MappingReader) -> PipelineDeclaration:
    pipeline = PipelineDeclaration(
        id=_positive(reader, "id"),
        name=_name(reader, "name"),
        folder=reader.take("folder", str, "\\"),
        revision=_positive(reader, "revision", 1),
        parameters=tuple(_parameter(each) for each in reader.take_mappings("parameters")),
        variables=tuple(_variable(each) for each in reader.take_mappings("variables")),
        stages=reader.take_texts("stages"),
        disabled=reader.take("disabled", bool, default=False),
        may_queue=reader.take("may_queue", bool, default=True),
    )
    reader.finish("id, name, folder, revision, parameters, variables, stages, disabled, may_queue")
    if not pipeline.folder.startswith("\\"):
        reader.trouble("folder", f"must begin with a backslash, not {pipeline.folder!r}")
    for key, names in (("parameters", pipeline.parameters), ("variables", pipeline.variables)):
        if len({each.name.lower() for each in names}) < len(names):
            reader.trouble(key, "two of them have the same name")
    return pipeline


def _parameter(reader: MappingReader) -> ParameterDeclaration:
    name = _name(reader, "name")
    kind = reader.take("type", str)
    required = not reader.has("default")
    default = reader.take_any("default")
    values = tuple(as_text(value) for value in reader.take("values", list, []))
    reader.finish("name, type, default, values")
    if kind not in PARAMETER_TYPES:
        reader.trouble("type", f"must be one of {', '.join(PARAMETER_TYPES)}, not {kind!r}")
        return ParameterDeclaration(name, "string")
    if any(ParameterDeclaration(name, _item_type(kind)).refusal(value) for value in values):
        reader.trouble("values", f"must all be of type {_item_type(kind)}")
        values = ()
    parameter = ParameterDeclaration(name, kind, None if required else as_text(default), values)
    refusal = None if parameter.default is None else parameter.refusal(parameter.default)
    if refusal:
        reader.trouble("default", refusal)
    return parameter


def _item_type(kind: str) -> str:
    """The type of each of a parameter's ``values``."""
    return "string" if kind == "stringList" else kind


def _variable(reader: MappingReader) -> VariableDeclaration:
    variable = VariableDeclaration(
        name=_name(reader, "name"),
        default=reader.take("default", str, ""),
        settable=reader.take("settable", bool, default=False),
    )
    reader.finish("name, default, settable")
    return variable
