"""One record: what happened to an event on a route."""

from flask import Blueprint, render_template

blueprint = Blueprint("record", __name__)


@blueprint.get("/record/<route>/<key>")
def show(route: str, key: str) -> str:  # noqa: ARG001 - the page is still empty
    """Show the page."""
    return render_template("record.html")
