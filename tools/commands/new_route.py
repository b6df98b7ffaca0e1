"""``./manage.py new-route``: asks four questions, and writes a route, its test case and its pipeline's YAML."""

import json
import re
import shlex
import sys
import textwrap
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from typing import Annotated, Final, TypeVar

import typer

from handlers import EVENT_TYPES, event_type
from shared.routing.routes_file import OWN_TYPE, ROUTE_NAME
from shared.suggestion import suggestion
from tools.actions.route_files import Draft, RouteFiles, write
from tools.console import Console
from tools.errors import INTERRUPTED, CommandFailed
from tools.events.samples import kebab_case, sample_event
from tools.files import shown_path
from tools.help_pages import PROGRAM, epilog
from tools.options import installation_of
from tools.presentation import finding_words
from tools.routes.new_route import NewRoute, condition, parameter
from tools.shell_completion import event_types

app = typer.Typer()

EPILOG: Final = epilog(
    {
        "new-route": "answer four questions",
        "new-route --event RunCompleted --pipeline report": "answer only what is left",
        "new-route --dry-run": "show what would be written",
    },
)

_WIDTH: Final = 79
_PIPELINE: Final = re.compile(r"\\?(?:[\w .()-]+\\)*[A-Za-z0-9][\w .()-]*")
_NO_PARAMETERS: Final = "-"

Answer = TypeVar("Answer")

EventOption = Annotated[
    str | None, typer.Option("--event", metavar="TYPE", help="The event type.", autocompletion=event_types)
]
WhenOption = Annotated[
    str | None,
    typer.Option(
        "--when",
        metavar="CONDITION",
        help="An example such as experiment_name=churn, or a condition in JMESPath; several are joined with &&. Empty "
        "for every event of the type.",
    ),
]
PipelineOption = Annotated[
    str | None, typer.Option("--pipeline", metavar="NAME", help="The pipeline: its name, or \\folder\\name.")
]
ParametersOption = Annotated[
    list[str] | None,
    typer.Option(
        "--parameter",
        "-p",
        metavar="NAME[=VALUE]",
        help="A parameter of the pipeline: run_id is short for runId='{{ run_id }}'. An object or a list is JSON: "
        """config='{"run": "{{ run_id }}"}'. May be repeated; - for none.""",
    ),
]
NameOption = Annotated[
    str | None, typer.Option("--name", metavar="ROUTE", help="The route's name.  [default: PIPELINE-on-EVENT]")
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show what would be written, and write nothing.")]


@app.command("new-route", epilog=EPILOG)
def make_route(
    context: typer.Context,
    *,
    event: EventOption = None,
    when: WhenOption = None,
    pipeline: PipelineOption = None,
    parameters: ParametersOption = None,
    name: NameOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Write a route, its test and its pipeline.

    On a terminal, the command asks for what no option gives: event, condition, pipeline and parameters. Elsewhere,
    --event and --pipeline are required; the other answers have a default.

    The route is added at the end of routes.yaml, which otherwise stays as it is, and the case at the end of
    routes.test.yaml. The pipeline's YAML is written to pipelines/NAME.yml, unless this file exists. Nothing is written
    unless the route is valid and an event can be made that it matches.
    """
    installation, console = installation_of(context), Console()
    files = RouteFiles(installation.settings.routes_file, installation.environment)
    questions = Questions(console, is_terminal=sys.stdin.isatty())
    chosen = questions.event(event)
    target_condition = questions.condition(when, chosen)
    target = questions.pipeline(pipeline)
    given = questions.parameters(parameters, chosen, files.usual_parameters(chosen, target))
    route = NewRoute(questions.name(name, target, chosen, files.names), chosen, target, target_condition, given)
    draft = files.draft(route)
    for finding in draft.warnings:
        console.note(f"warning: {finding_words(finding)}" + (f"; {finding.suggestion}" if finding.suggestion else ""))
    if dry_run:
        for file, text in draft.files.items():
            console.line(f"--- {shown_path(file)}")
            console.code(text)
        return
    write(draft.files)
    _show_next_steps(console, route, draft)


@dataclass(frozen=True)
class Questions:
    """Asks for what no option gives.

    :param is_terminal: elsewhere, nothing is asked: the default is used, or its absence is an error.
    """

    console: Console
    is_terminal: bool

    def event(self, given: str | None) -> str:
        """Return the event type."""
        types = list(EVENT_TYPES)
        lines = [
            "1. Which event? Type its number or name.",
            *(f"   {n}  {each}" for n, each in enumerate(types, 1)),
            f"   Or type the full type of any other event, such as {OWN_TYPE}.",
        ]

        def read(answer: str) -> str:
            if answer.isdigit() and 0 < int(answer) <= len(types):
                return types[int(answer) - 1]
            try:
                return event_type(answer).name
            except KeyError:
                raise CommandFailed(f"'{answer}' is not an event type; {suggestion(answer, types)}") from None

        return self._ask(given, "--event", lines, read)

    def condition(self, given: str | None, event: str) -> str:
        """Return the condition; an empty string for every event."""
        name = next(iter(event_type(event).names), "data.region")
        lines = _paragraph(
            f"2. Which {event} events? Press Enter for all of them, or give an example such as {name}=VALUE, or a "
            "condition in JMESPath. Join several with &&.",
        )
        if event_type(event).names:
            sample = json.dumps(sample_event(event)["data"], indent=2)
            lines += ["   This is the data of a sample event:", *textwrap.indent(sample, "     ").splitlines()]
        lines += _names(event)
        return self._ask(given, "--when", lines, lambda answer: condition(answer, event), "")

    def pipeline(self, given: str | None) -> str:
        """Return the pipeline's name."""
        lines = [
            "3. Which pipeline does it queue? Type its name, such as score-model.",
            "   If there is no file pipelines/NAME.yml, it is written.",
        ]

        def read(answer: str) -> str:
            if answer.isdigit() or not _PIPELINE.fullmatch(answer):
                raise CommandFailed(
                    f"'{answer}' cannot be the name of a pipeline and its file; use letters, digits and -"
                )
            return answer

        return self._ask(given, "--pipeline", lines, read)

    def parameters(self, given: Sequence[str] | None, event: str, usual: Sequence[str]) -> dict[str, str]:
        """Return the template of each parameter."""
        lines = [
            "4. Which values does the pipeline get? Type names, separated by spaces:",
            "   run_id becomes the parameter runId. Or NAME=TEXT, and - for none.",
            *_names(event),
        ]

        def read(answer: str) -> dict[str, str]:
            each = list(given) if given is not None else answer.split()
            named: dict[str, str] = {}
            for name, text in [] if each == [_NO_PARAMETERS] else [parameter(one, event) for one in each]:
                if name.lower() in map(str.lower, named):
                    raise CommandFailed(f"the parameter '{name}' is given twice; Azure Pipelines ignores its case")
                named[name] = text
            return named

        default = " ".join(usual) or _NO_PARAMETERS
        return self._ask(None if given is None else "", "--parameter", lines, read, default)

    def name(self, given: str | None, pipeline: str, event: str, taken: Container[str]) -> str:
        """Return the route's name. It is asked for only if another route has the name that follows from the answers."""
        name = pipeline.rpartition("\\")[2]
        usual = re.sub(r"[^A-Za-z0-9._-]+", "-", f"{name}-on-{kebab_case(event)}")

        def read(answer: str) -> str:
            if not ROUTE_NAME.fullmatch(answer):
                raise CommandFailed(f"'{answer}' cannot be the name of a route; use letters, digits and -, at most 63")
            if answer in taken:
                raise CommandFailed(f"there is already a route '{answer}'; choose another name with --name")
            return answer

        if given is None and (usual not in taken or not self.is_terminal):
            return read(usual)
        return self._ask(given, "--name", [f"There is already a route {usual}. What is the name of this one?"], read)

    def _ask(
        self,
        given: str | None,
        option: str,
        lines: Sequence[str],
        read: Callable[[str], Answer],
        default: str | None = None,
    ) -> Answer:
        """Return what an option gives, or ask until the answer can be read.

        :raises CommandFailed: the option cannot be read, there is no default and no terminal, or Ctrl-C was pressed.
        """
        if given is not None:
            return read(given)
        if not self.is_terminal:
            if default is None:
                raise CommandFailed(f"{option} is missing, and there is no terminal to ask on; see --help")
            return read(default)
        self.console.line()
        for line in lines:
            self.console.line(line)
        while True:
            try:
                answer = self.console.ask(f"> [{default}] " if default else "> ") or default
            except KeyboardInterrupt:
                self.console.note("")
                raise CommandFailed("interrupted; nothing was written", INTERRUPTED) from None
            if answer is not None:
                try:
                    return read(answer)
                except CommandFailed as exc:
                    self.console.note(str(exc))


def _names(event: str) -> list[str]:
    names = event_type(event).names or ("data.NAME for each value in the event's data",)
    return _paragraph(f"   Names: {', '.join(names)}.")


def _paragraph(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, subsequent_indent=" " * 3)


def _show_next_steps(console: Console, route: NewRoute, draft: Draft) -> None:
    console.line()
    for file in draft.files:
        console.line(f"wrote {shown_path(file)}")
    settings = [f"--set {shlex.quote(f'{path}={_shown(value)}')}" for path, value in draft.changed.items()]
    console.line()
    console.line(f"The route is {route.name}. Next:")
    console.line(f"  ./{PROGRAM} test")
    command = [f"./{PROGRAM} send {route.event}", *settings, "--wait"]
    on_one_line = f"  {' '.join(command)}"
    console.text(on_one_line if len(on_one_line) <= _WIDTH else "  " + " \\\n    ".join(command))
    console.line("The second command needs 'make ado' and 'make start' in other terminals.")
    console.line("Then write what the pipeline does, and create it in Azure DevOps.")


def _shown(value: object) -> str:
    """Return a value as --set reads it."""
    return value if isinstance(value, str) else json.dumps(value)
