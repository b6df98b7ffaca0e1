"""``./manage.py test``: checks the cases of routes.test.yaml against the dispatch table. Sends nothing."""

from pathlib import Path
from typing import Annotated, Final

import typer

from handlers import DISPATCH, NAMES
from shared.deciding import decide
from shared.errors import InvalidRoutes
from shared.routing.routes_file import read_routes
from tools.console import Console
from tools.files import read_text, shown_path
from tools.help_pages import epilog
from tools.options import JsonOption, RoutesFileOption, installation_of
from tools.presentation import counted
from tools.routes.cases import FILE_NAME, read_cases

app = typer.Typer()

EPILOG: Final = epilog(
    {"test": f"the cases in {FILE_NAME} next to routes.yaml", "test my-cases.yaml": "the cases in another file"},
    "a case differs from what the routes decide",
)

CasesArgument = Annotated[
    Path | None,
    typer.Argument(metavar="ROUTES.test.yaml", help=f"The cases. By default {FILE_NAME} next to routes.yaml."),
]


@app.command("test", epilog=EPILOG)
def run_cases(
    context: typer.Context,
    cases: CasesArgument = None,
    *,
    routes: RoutesFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Test the routes with the cases of a file.

    A case gives an event and expects exactly the routes that match it, each with its pipeline and parameters. The
    decision is made by the app's own code. The journal is not read, so cooldowns have no effect. `./manage.py
    new-route` writes a case for each route that it makes; docs/routes.md describes the format.
    """
    installation, console = installation_of(context).with_routes(routes), Console()
    table_file = installation.settings.routes_file
    file = cases or table_file.with_name(FILE_NAME)
    read = read_cases(file)
    # An environment value that is not set here may be set where the app runs.
    reading = read_routes(read_text(table_file), names=NAMES, environment=installation.environment)
    if reading.problems:
        raise InvalidRoutes(table_file.name, reading.problems)
    results = [(case, case.differences(lambda raw: decide(raw, DISPATCH, reading.table))) for case in read]
    failed = sum(bool(differences) for _, differences in results)
    if as_json:
        documents = [{"name": case.name, "ok": not found, "differences": found} for case, found in results]
        console.json({"file": shown_path(file), "cases": documents})
    else:
        for case, differences in results:
            console.row(["failed" if differences else "ok", case.name], [len("failed")])
            for difference in differences:
                console.line(f"    {difference}")
        console.line(f"{shown_path(file)}: {counted(len(results), 'case')}, {failed} failed")
    raise typer.Exit(1 if failed else 0)
