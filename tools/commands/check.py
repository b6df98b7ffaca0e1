"""``manage.py check``: reports what is wrong with routes.yaml, before the app refuses to start with it."""

from dataclasses import asdict
from typing import Any, Final

import typer

from handlers import NAMES
from shared.settings.misspelled import misspelled
from tools.console import Console
from tools.files import read_text, shown_path
from tools.help_pages import epilog
from tools.options import JsonOption, RoutesArgument, StrictOption, installation_of
from tools.presentation import finding_words
from tools.routes.checks import check, count, summary_words
from tools.routes.findings import Finding, Severity

app = typer.Typer()

EPILOG: Final = epilog(
    {
        "check": "the dispatch table that the app reads",
        "check routes.yaml --strict": "in a pipeline that checks changes to the table",
    },
    "there are errors, or with --strict warnings",
)


@app.command("check", epilog=EPILOG)
def check_routes(
    context: typer.Context,
    routes: RoutesArgument = None,
    *,
    strict: StrictOption = False,
    as_json: JsonOption = False,
) -> None:
    """Report every mistake in routes.yaml.

    An error keeps the app from starting. A warning is probably a mistake: a condition that can never be true, a string
    that a name never has, a placeholder that never finds a value, a route that requests the same run as another route,
    a loop without a cooldown, or an environment value that is not set here. If the pipeline's YAML is next to
    routes.yaml, as pipelines/NAME.yml, the route's parameters are compared with the parameters that it declares. It is
    an error if the value of a placeholder would be parsed as YAML.

    Each finding is one line, as compilers print them (FILE:LINE:COLUMN: error: TEXT), followed by a suggestion. A
    warning without "may" is certain. A remark names each setting here that is probably misspelled. The command only
    reads files.
    """
    installation, console = installation_of(context), Console()
    file = routes or installation.settings.routes_file
    reading, findings = check(read_text(file), file, NAMES, installation.environment)
    shown = shown_path(file)
    if as_json:
        console.json(_document(shown, findings))
    else:
        for finding in findings:
            show(console, shown, finding)
        console.line(f"{shown}: {summary_words(reading, findings)}")
    for message in misspelled(installation.environment, file):
        console.note(message)
    raise typer.Exit(1 if count(findings, Severity.ERROR) or (strict and findings) else 0)


def show(console: Console, file: str, finding: Finding) -> None:
    """Print a finding as compilers do, with its suggestion on the next line."""
    console.finding(f"{file}:{finding.line}:{finding.column}:", finding.severity, finding_words(finding))
    if finding.suggestion:
        console.line(f"    {finding.suggestion}")


def _document(file: str, findings: list[Finding]) -> dict[str, Any]:
    return {
        "file": file,
        "errors": count(findings, Severity.ERROR),
        "warnings": count(findings, Severity.WARNING),
        "findings": [asdict(finding) for finding in findings],
    }
