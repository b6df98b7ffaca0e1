"""``./manage.py test``: checks the cases of routes.test.yaml against the dispatch table. Sends nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from handlers import NAMES
from shared.errors import InvalidRoutes
from shared.routing.routes_file import Reading, read_routes
from tools.console import Console
from tools.errors import CommandFailed
from tools.files import emit, read_text, shown_path
from tools.help_pages import epilog
from tools.options import JsonOption, RoutesFileOption, StrictOption, installation_of
from tools.presentation import counted
from tools.routes.cases.coverage import Gap, gaps
from tools.routes.cases.junit import junit_xml
from tools.routes.cases.playing import playing
from tools.routes.cases.reading import FILE_NAME, Case, read_cases
from tools.routes.cases.running import Result, run, updated_text

app = typer.Typer()

EPILOG: Final = epilog(
    {
        "test": f"the cases in {FILE_NAME} next to routes.yaml",
        "test -k monitor": "the cases whose names contain 'monitor'",
        "test --strict --junit-xml results.xml": "in a pipeline that checks changes to the table",
        "test --update": "after a change that is meant: expect what is so now",
    },
    "a case differs from what the routes decide, or with --strict something has no case",
)

CasesArgument = Annotated[
    Path | None,
    typer.Argument(metavar="ROUTES.test.yaml", help=f"The cases. By default {FILE_NAME} next to routes.yaml."),
]
OnlyOption = Annotated[
    str,
    typer.Option("-k", "--only", metavar="TEXT", help="Only the cases whose names contain this text. Case is ignored."),
]
UpdateOption = Annotated[
    bool,
    typer.Option("--update", help="Write into each case that differs what the routes decide now. Review the change."),
]
JunitOption = Annotated[
    Path | None, typer.Option("--junit-xml", metavar="FILE", help="Also write the results to this file, as JUnit XML.")
]


@app.command("test", epilog=EPILOG)
def run_cases(
    context: typer.Context,
    cases: CasesArgument = None,
    *,
    only: OnlyOption = "",
    update: UpdateOption = False,
    junit: JunitOption = None,
    strict: StrictOption = False,
    routes: RoutesFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Test the routes with the cases of a file.

    A case gives an event, perhaps with earlier ones, and expects exactly the routes that match it, each with its
    outcome, pipeline and parameters. The app's own code decides, with an empty journal. A mistake in the file is
    reported with its line, and no case is run then. docs/routes.md describes the format.

    Afterwards, the command warns about each route that no case matches. On the other routes, it warns about each part
    of a condition that no case makes true, or false. `./manage.py new-route` writes a case for each route that it
    makes.
    """
    installation, console = installation_of(context).with_routes(routes), Console()
    table_file = installation.settings.routes_file
    file = cases or table_file.with_name(FILE_NAME)
    text = read_text(file).removeprefix("\ufeff")  # PyYAML does not count it
    # An environment value that is not set here may be set where the app runs.
    reading = read_routes(read_text(table_file), names=NAMES, environment=installation.environment)
    if reading.problems:
        raise InvalidRoutes(table_file.name, reading.problems)
    updated: set[int] = set()
    with playing(reading.table) as play:

        def run_text(each: str) -> list[Result]:
            return run(_read(file, each, reading, only, may_lack_expect=update), play)

        results = run_text(text)
        if update and (updated := {number for number, result in enumerate(results) if result.is_wrong}):
            new, results = _updated(file, text, results, run_text)
            emit(console, new.replace("\n", "\r\n") if b"\r\n" in file.read_bytes() else new, file)
    untested = [] if only else gaps(reading, [result.verdict for result in results])
    if junit is not None:
        emit(console, junit_xml(shown_path(file), results), junit)
    if as_json:
        console.json(_document(shown_path(file), results, untested))
    else:
        _show(console, shown_path(file), results, updated)
        for gap in untested:
            line, column = gap.place
            console.finding(f"{shown_path(table_file)}:{line}:{column}:", "warning", gap.words)
        failed = sum(result.is_wrong for result in results)
        console.line(f"{shown_path(file)}: {counted(len(results), 'case')}, {failed} failed")
    raise typer.Exit(1 if any(result.is_wrong for result in results) or (strict and untested) else 0)


def _updated(
    file: Path, text: str, results: list[Result], run_again: Callable[[str], list[Result]]
) -> tuple[str, list[Result]]:
    """Return the text with what is so now, and its results.

    :raises CommandFailed: the layout of the file makes it impossible.
    """
    try:
        new = updated_text(text, (result for result in results if result.is_wrong))
        results = run_again(new)
    except CommandFailed as exc:
        raise CommandFailed(f"{file} cannot be updated; correct it by hand: {exc}") from exc
    if wrong := [result for result in results if result.is_wrong]:
        raise CommandFailed(f"{file} cannot be updated; correct the case '{wrong[0].case.name}' by hand")
    return new, results


def _read(file: Path, text: str, reading: Reading, only: str, *, may_lack_expect: bool) -> list[Case]:
    """Return the cases whose names contain ``only``.

    :raises CommandFailed: the file has mistakes, or there is no such case.
    """
    routes = [route.name for route in reading.table.routes]
    cases, problems = read_cases(text, file.parent, routes, may_lack_expect=may_lack_expect)
    if problems:
        shown = shown_path(file)
        lines = [f"{shown} has {counted(len(problems), 'mistake')}, so no case was run:"]
        for problem in problems:
            quoted = f" {problem.text!r}:" if problem.text else ""
            lines.append(f"{shown}:{problem.line}:{problem.column}:{quoted} {problem.advice}")
        raise CommandFailed("\n".join(lines))
    chosen = [case for case in cases if only.lower() in case.name.lower()]
    if only and not chosen:
        raise CommandFailed(f"the name of no case in {file} contains '{only}'; give another text with -k")
    return chosen


def _show(console: Console, file: str, results: list[Result], updated: set[int]) -> None:
    for number, result in enumerate(results):
        word = "failed" if result.is_wrong else "updated" if number in updated else "ok"
        console.row([word, result.case.name], [len("updated" if updated else "failed")])
        for difference in result.differences:
            console.line(f"    {file}:{difference.line}: {difference.text}")


def _document(file: str, results: list[Result], untested: list[Gap]) -> dict[str, Any]:
    return {
        "file": file,
        "cases": [
            {
                "name": result.case.name,
                "line": result.case.line,
                "ok": not result.is_wrong,
                "differences": [difference.text for difference in result.differences],
            }
            for result in results
        ],
        "untested": [{"route": gap.route, "condition": gap.part, "missing": gap.missing} for gap in untested],
    }
