"""The answers to requests that fail: what happened, to what, and what to do next."""

import traceback
from typing import Final

from flask import Flask, render_template, request
from werkzeug.exceptions import HTTPException

from shared.errors import NextstageError
from tools.console import Console, masked
from tools.errors import CommandFailed
from tools.page.security import MAX_BODY_BYTES, NotAdmitted, is_admitted

_Answer = tuple[str, int]

_TEXTS: Final = {
    404: "There is no such page. The navigation shows all pages; a record may have been purged.",
    405: "This address does not take such a request. Start from one of the pages in the navigation.",
    413: (
        f"The form is larger than {MAX_BODY_BYTES // 2**20} MB, so it was not read. Event Grid delivers events of up "
        "to 1 MB. To look at a larger file, use './manage.py explain FILE'."
    ),
    500: "The terminal shows where. Nothing else is affected, and other pages may work.",
}
"""The text for each status, unless the view gives a better one."""
_TITLES: Final = {403: "Refused", 413: "Too large", 500: "This page has a defect"}
"""Other statuses have the name that HTTP gives them."""


def explain_errors(app: Flask) -> None:
    """Answer every failure of an application with a page."""
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(CommandFailed, _known_error)
    app.register_error_handler(NextstageError, _known_error)
    app.register_error_handler(Exception, _defect)


def _http_error(error: HTTPException) -> _Answer:
    code = error.code or 500
    own = error.description if error.description != type(error).description else None
    text = own or _TEXTS.get(code) or error.description or ""
    if isinstance(error, NotAdmitted) or not is_admitted():
        # The link is followed from our own page, so the browser sends the cookie that it kept back for another site.
        again = request.url if isinstance(error, NotAdmitted) and request.method == "GET" else ""
        return render_template("refused.html", text=error.description or text, again=again), code
    return _problem(_TITLES.get(code, error.name.capitalize()), text, code)


def _known_error(error: Exception) -> _Answer:
    """Answer with the message that the commands print."""
    return _problem("This did not work", masked(str(error)), 400 if isinstance(error, CommandFailed) else 503)


def _defect(_error: Exception) -> _Answer:
    console = Console()
    console.note(f"{request.method} {request.path} failed:")
    for line in traceback.format_exc().splitlines():
        console.note(line)
    return _problem(_TITLES[500], _TEXTS[500], 500)


def _problem(title: str, text: str, code: int) -> _Answer:
    return render_template("problem.html", title=title, lines=text.splitlines()), code
