"""What the routes would do with an event."""

from flask import Blueprint, render_template

blueprint = Blueprint("trying", __name__)


@blueprint.get("/try")
def show() -> str:
    """Show the page."""
    return render_template("trying.html")
