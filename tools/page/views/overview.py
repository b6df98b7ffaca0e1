"""The overview: what needs a person, and the latest decisions."""

from flask import Blueprint, render_template

blueprint = Blueprint("overview", __name__)


@blueprint.get("/")
def show() -> str:
    """Show the page."""
    return render_template("overview.html")
