"""The routes, and how they did."""

from flask import Blueprint, render_template

blueprint = Blueprint("routes", __name__)


@blueprint.get("/routes")
def show() -> str:
    """Show the page."""
    return render_template("routes.html")
