"""The tasks that wait for Azure ML runs."""

from flask import Blueprint, render_template

blueprint = Blueprint("waits", __name__)


@blueprint.get("/waits")
def show() -> str:
    """Show the page."""
    return render_template("waits.html")
