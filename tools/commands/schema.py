"""``manage.py schema``: writes the JSON Schema of routes.yaml."""

import typer

from handlers import NAMES
from tools.console import Console
from tools.files import emit
from tools.help_pages import epilog
from tools.options import OutputOption
from tools.routes.schema import schema_text

app = typer.Typer()


@app.command(epilog=epilog({"schema --output routes.schema.json": "after a change of the code"}))
def schema(*, output: OutputOption = None) -> None:
    """Write the JSON Schema of routes.yaml.

    It is for editors and is generated from the code. routes.schema.json beside routes.yaml is this text; an editor
    with the YAML language server finds it by the first line of routes.yaml.
    """
    emit(Console(), schema_text(NAMES), output)
