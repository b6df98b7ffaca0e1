"""``manage.py schema``: writes the JSON Schema of routes.yaml."""

import typer

from handlers import NAMES
from tools.console import Console
from tools.files import emit
from tools.help_pages import epilog
from tools.options import OutputOption
from tools.routes.schema import schema_text

app = typer.Typer()


@app.command(epilog=epilog({"schema --output routes.schema.json": "after the code has changed"}))
def schema(*, output: OutputOption = None) -> None:
    """Write the JSON Schema of routes.yaml.

    Editors use the schema for completion and checks. It is generated from the code and stored as routes.schema.json,
    next to routes.yaml. An editor with the YAML language server finds it through the first line of routes.yaml.
    """
    emit(Console(), schema_text(NAMES), output)
