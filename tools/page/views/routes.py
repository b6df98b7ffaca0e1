"""The routes, and how they did."""

from contextlib import suppress
from datetime import timedelta
from typing import Any, Final

from flask import Blueprint, Response, render_template

from shared.errors import ConfigurationError, JournalUnavailable
from tools.actions.running_app import other_routes
from tools.console import masked
from tools.installation import Installation
from tools.page.page import page
from tools.page.reading.statistics import Statistics
from tools.page.route_table import RoutesFile, counts_words, read_routes_file, rows
from tools.routes.chain.svg import STYLES, drawing

blueprint = Blueprint("routes", __name__)

PERIOD: Final = timedelta(days=7)
NEWER: Final = "7d"
"""The same period as a filter of the overview."""
TITLE: Final = "Which event queues which pipeline, and which events the pipelines cause"


@blueprint.get("/routes")
def show() -> str:
    """Show the page."""
    installation = page().now()
    file = read_routes_file(installation)
    content = {} if file.is_invalid else _content(installation, file)
    return render_template("routes.html", file=file, newer=NEWER, **content)


@blueprint.get("/routes/chain.css")
def chain_styles() -> Response:
    """Return the styles of the picture. A style within the page is not allowed."""
    return Response(f".chain {{\n{STYLES}}}\n", mimetype="text/css")


def _content(installation: Installation, file: RoutesFile) -> dict[str, Any]:
    remarks = []
    statistics = Statistics({})
    with suppress(ConfigurationError):  # an environment value is not set here, which is a warning of the check
        remarks.append(other_routes(installation))
    try:
        if installation.has_journal:
            statistics = page().source.reader().statistics(PERIOD, installation.clock())
        else:
            remarks.append("there is no journal yet, so nothing is known of what happened on the routes")
    except JournalUnavailable as exc:
        remarks.append(masked(str(exc)))
    if not statistics.is_complete:
        remarks.append("there are more events than were counted: only the newest ones are")
    names = {route.name for route in file.chain.routes}
    known = {name: f"last week: {counts_words(each.counts)}" for name, each in statistics.routes.items()}
    return {
        "progress": page().source.progress,
        "remarks": [each for each in remarks if each],
        "rows": rows(file, statistics.routes),
        "others": {name: each for name, each in statistics.routes.items() if name not in names},
        "picture": drawing(file.chain, TITLE, known),
    }
