"""The declaration of the emulated project: branches, credentials and pipelines, read from a YAML file.

The file is validated strictly. ``DeclarationError`` lists all problems, each with the file and the key. A pipeline that
declares neither parameters nor stages has those of its file in pipelines/, and ``load_project`` adds the pipelines that
routes.yaml names.
"""

from __future__ import annotations

import logging
import uuid
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import yaml

from devstack.ado.runs import pipeline_files
from devstack.ado.runs.parameters import ParameterDeclaration, as_text
from devstack.ado.schemas import problems
from shared.routing import yaml_documents

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from devstack.ado.tasks.records import EarlyEvents

QueueStatus = Literal["enabled", "paused", "disabled"]

DEFAULT_FILE = Path(__file__).with_name("pipelines.yaml")
ROOT = Path(__file__).resolve().parents[2]

logger = logging.getLogger("devstack.ado")


class DeclarationError(ValueError):
    """The declaration is invalid. ``problems`` has one line for each problem."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class SecretSource:
    """The source of an accepted secret: an environment variable or, if that is unset or empty, a default."""

    environment: str
    default: str

    def resolve(self, environment: Mapping[str, str]) -> str:
        return environment.get(self.environment) or self.default


IDENTITY_HEADER = SecretSource("DEVSTACK_IDENTITY_HEADER", "devstack-identity")
"""The default source of the X-IDENTITY-HEADER that clients of the emulated managed identity must send."""


@dataclass(frozen=True)
class VariableDeclaration:
    """A pipeline variable. Only a settable variable may be set when a run is queued."""

    name: str
    default: str = ""
    settable: bool = False


@dataclass(frozen=True)
class PipelineDeclaration:
    """One pipeline. ``may_queue`` defines whether the emulator's credentials have the permission to queue it.

    Runs of a paused pipeline are queued, but never start. A disabled pipeline refuses runs and previews. ``invalid`` is
    what is wrong in the pipeline's YAML, for which Azure DevOps refuses its runs, or an empty string.
    """

    id: int
    name: str
    folder: str = "\\"
    revision: int = 1
    parameters: tuple[ParameterDeclaration, ...] = ()
    variables: tuple[VariableDeclaration, ...] = ()
    stages: tuple[str, ...] = ()
    queue_status: QueueStatus = "enabled"
    may_queue: bool = True
    invalid: str = ""

    @cached_property
    def parameter_by_name(self) -> dict[str, ParameterDeclaration]:
        return {parameter.name: parameter for parameter in self.parameters}

    @cached_property
    def defaults(self) -> dict[str, str]:
        """The default values of the template parameters."""
        return {each.name: each.default for each in self.parameters if each.default is not None}

    @cached_property
    def settable_variables(self) -> frozenset[str]:
        """The names in lower case, because variable names in Azure DevOps are not case-sensitive."""
        return frozenset(variable.name.lower() for variable in self.variables if variable.settable)


@dataclass(frozen=True)
class AgentlessDeclaration:
    """How the service treats agentless tasks. The defaults of the first three are those of Azure DevOps.

    ``timeout_minutes`` is the default timeout of a job. ``call_timeout_seconds`` is how long a task waits for the
    answer to its request. ``token_hours`` is how long a job token is valid. ``early_events`` (taken or dropped) and
    ``ended_plan_status`` (404 or 410) choose between variants of behavior that Azure DevOps does not document. See
    ``devstack/ado/tasks/hub.py``.
    """

    timeout_minutes: int = 60
    call_timeout_seconds: float = 20
    token_hours: int = 48
    early_events: EarlyEvents = "taken"
    ended_plan_status: int = 404


@dataclass(frozen=True)
class Declaration:
    """The emulated organization with its one project."""

    organization: str
    project: str
    branches: tuple[str, ...]
    pipelines: tuple[PipelineDeclaration, ...]
    pat: SecretSource = SecretSource("DEVSTACK_PAT", "devstack-pat")
    token: SecretSource = SecretSource("DEVSTACK_TOKEN", "devstack-token")
    identity_header: SecretSource = IDENTITY_HEADER
    agentless: AgentlessDeclaration = AgentlessDeclaration()

    @cached_property
    def organization_id(self) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_URL, self.organization.lower()))

    @cached_property
    def project_id(self) -> str:
        """The project's GUID. It is derived from the names, so URLs stay valid after a restart."""
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


def load_project(file: Path, app_dir: Path, routes_file: Path, earlier: Declaration | None = None) -> Declaration:
    """Read a declaration, and add the pipelines that the routes name and that have a file in pipelines/.

    :param earlier: the last declaration. Its pipelines stay, because they may have runs.
    :raises DeclarationError: with all problems in the declaration.
    """
    declaration = load_declaration(file, app_dir)
    pipelines = list(declaration.pipelines)
    for path in pipeline_files.named_by_routes(routes_file):
        folder, _, name = path.rpartition("\\")
        if any(name.lower() == each.name.lower() for each in pipelines):
            continue
        if pipeline_files.find(app_dir, name) is None:
            logger.warning(
                "devstack.ado: %s names the pipeline '%s', which does not exist here: create %s/%s.yml, or declare it "
                "in the file that --pipelines names",
                routes_file.name,
                path,
                pipeline_files.FOLDER,
                name,
            )
            continue
        number = pipeline_files.free_id(path, [each.id for each in pipelines])
        pipelines.append(_pipeline({"id": number, "name": name, "folder": folder or "\\"}, app_dir))
    if earlier is not None:
        pipelines += [each for each in earlier.pipelines if each.id not in {known.id for known in pipelines}]
    return replace(declaration, pipelines=tuple(pipelines))


def load_declaration(file: Path = DEFAULT_FILE, app_dir: Path = ROOT) -> Declaration:
    """Read a declaration.

    :param app_dir: the folder with the pipelines' files.
    :raises DeclarationError: with all problems in the file.
    """
    try:
        document = yaml_documents.load(file.read_text(encoding="utf-8"))
    except OSError as exc:
        raise DeclarationError([f"{file}: cannot be read: {exc.strerror}"]) from exc
    except (yaml.YAMLError, UnicodeDecodeError) as exc:
        raise DeclarationError([f"{file}: not valid YAML: {exc}"]) from exc
    if found := problems("declaration", document):
        raise DeclarationError([f"{file}: {problem}" for problem in found])
    declaration = _read(app_dir, **document)
    if found := list(_contradictions(declaration)):
        raise DeclarationError([f"{file}: {problem}" for problem in found])
    return declaration


def _read(
    app_dir: Path,
    organization: str,
    project: str,
    branches: list[str],
    pipelines: list[dict[str, Any]],
    credentials: Mapping[str, dict[str, str]] = MappingProxyType({}),
    agentless: Mapping[str, Any] = MappingProxyType({}),
) -> Declaration:
    secrets = {name: SecretSource(**source) for name, source in credentials.items()}
    return Declaration(
        organization=organization,
        project=project,
        branches=tuple(branches),
        pipelines=tuple(_pipeline(pipeline, app_dir) for pipeline in pipelines),
        agentless=AgentlessDeclaration(**agentless),
        **secrets,
    )


def _pipeline(document: dict[str, Any], app_dir: Path) -> PipelineDeclaration:
    """Return a declared pipeline. What the declaration does not say is in the pipeline's file, if there is one."""
    file = pipeline_files.find(app_dir, document["name"])
    if file is None or "parameters" in document or "stages" in document:
        return _declared(**document)
    try:
        complete = {**document, **pipeline_files.read(file)}
        if found := problems("pipeline", complete):
            return _declared(**document, invalid=f"/{file.name}: {found[0]}")
        pipeline = _declared(**complete)
    except pipeline_files.InvalidPipelineFile as exc:
        return _declared(**document, invalid=f"/{file.name}: {exc}")
    return replace(
        pipeline, invalid="".join(f"/{file.name}: {each}" for each in list(_contradictions_of(pipeline))[:1])
    )


def _declared(
    parameters: Iterable[dict[str, Any]] = (),
    variables: Iterable[dict[str, Any]] = (),
    stages: Iterable[str] = (),
    **more: Any,
) -> PipelineDeclaration:
    return PipelineDeclaration(
        parameters=tuple(_parameter(each) for each in parameters),
        variables=tuple(VariableDeclaration(**each) for each in variables),
        stages=tuple(stages),
        **more,
    )


def _parameter(document: dict[str, Any]) -> ParameterDeclaration:
    default = as_text(document["default"]) if "default" in document else None
    values = tuple(as_text(value) for value in document.get("values", ()))
    return ParameterDeclaration(document["name"], document["type"], default, values)


def _contradictions(declaration: Declaration) -> Iterator[str]:
    """Yield problems that the schema cannot express: duplicate names and IDs, and values of the wrong type."""
    pipelines = declaration.pipelines
    yield from _duplicates("pipelines", "id", [pipeline.id for pipeline in pipelines])
    names = [f"{pipeline.folder}\\{pipeline.name}".lower() for pipeline in pipelines]
    yield from _duplicates("pipelines", "name", names)
    for index, pipeline in enumerate(pipelines):
        if not pipeline.invalid:
            yield from (f"pipelines[{index}].{problem}" for problem in _contradictions_of(pipeline))


def _contradictions_of(pipeline: PipelineDeclaration) -> Iterator[str]:
    yield from _duplicates("parameters", "name", [each.name.lower() for each in pipeline.parameters])
    yield from _duplicates("variables", "name", [each.name.lower() for each in pipeline.variables])
    for position, parameter in enumerate(pipeline.parameters):
        for key, refusal in parameter.contradictions():
            yield f"parameters[{position}].{key}: {refusal}"


def _duplicates(where: str, key: str, values: list[Any]) -> Iterator[str]:
    for index, value in enumerate(values):
        if value in values[:index]:
            yield f"{where}[{index}].{key}: {value!r} is a duplicate"
