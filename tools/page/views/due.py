"""What is deferred, and when it is tried again."""

from flask import Blueprint, render_template

blueprint = Blueprint("due", __name__)


@blueprint.get("/due")
def show() -> str:
    """Show the page."""
    return render_template("due.html")
