"""Composes the page: its views, its protection, and what all templates can use."""

from collections.abc import Mapping
from typing import Any

from flask import Flask

from shared.version import VERSION
from tools.page import formats
from tools.page.errors import explain_errors
from tools.page.page import Page
from tools.page.security import FORM_FIELD, protect
from tools.page.views import due, overview, record, routes, trying, waits


def make_app(page: Page) -> Flask:
    """Return the page as a WSGI application. Nothing is read yet."""
    app = Flask(__package__)
    page.install(app.extensions)
    protect(app, page.session, page.port)
    explain_errors(app)
    app.jinja_env.globals.update(_globals(page))
    app.jinja_env.filters["entered"] = formats.Entered
    app.jinja_env.finalize = formats.visible
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    for view in (overview, record, routes, trying, waits, due):
        app.register_blueprint(view.blueprint)
    return app


def prepare(page: Page, app: Flask) -> None:
    """Do now what the first page would wait for: open the journal, and compile the templates of the overview.

    :raises JournalUnavailable: the journal cannot be opened.
    :raises CommandFailed: the journal does not exist.
    """
    page.source.reader()
    for name in ("layout.html", "parts.html", "overview.html"):
        app.jinja_env.get_template(name)


def _globals(page: Page) -> Mapping[str, Any]:
    """Return the names that all templates can use, also in macros."""
    return {
        "FORM_FIELD": FORM_FIELD,
        "form_token": page.session.form_token,
        "is_web_link": formats.is_web_link,
        "journal_name": page.installation.journal_name,
        "now": page.installation.clock,
        "relative": formats.relative,
        "short_key": formats.short_key,
        "utc": formats.utc,
        "version": VERSION,
    }
