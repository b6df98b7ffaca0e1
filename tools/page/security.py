"""Protects the page against other websites in the same browser, and against other users of the machine.

- Only a browser that has opened the first URL, which the terminal shows, gets an answer. Its token becomes a cookie
  that other sites cannot send and scripts cannot read.
- The Host header must name this server. Otherwise, a site could let its own name point to 127.0.0.1 (DNS rebinding).
- A request that is not GET or HEAD must come from one of our own pages: its Origin is ours, and it has the token that
  our forms have.
- The Content Security Policy allows no script, style or address except our own files.

Everything is checked before a view runs, so a request that is refused reads nothing.

A cookie is for all ports of a host. So another server on 127.0.0.1 gets it, if the operator opens that server in the
same browser. While the browser is started, its address is in the list of processes. On a machine that is shared with
people whom the operator does not trust, --no-browser and a browser on another machine avoid both.
"""

import hmac
import secrets
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from flask import Flask, Response, abort, g, redirect, request, url_for
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as AnyResponse

FORM_FIELD: Final = "csrf"
"""The hidden field of each form with the token of the session."""

TOKEN: Final = "token"  # noqa: S105 - the name of a parameter
"""The parameter of the first URL."""

MAX_BODY_BYTES: Final = 4 * 2**20
"""The largest form. Event Grid delivers at most 1 MB, and a form may need three bytes for one."""

_READS: Final = frozenset({"GET", "HEAD"})
_POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'"
)
# With no-referrer, browsers send "Origin: null" with our own forms, and we could not tell them from foreign ones.
_HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

HOW_TO_GET_IN: Final = "Open the address that the terminal shows, where './manage.py page' runs."
_FOREIGN_HOST: Final = "This is not an address of the page. Open the one that the terminal shows."
_FOREIGN_FORM: Final = (
    "Nothing was changed: the request does not come from a form of this page. Go back, reload the page, and try again."
)


class Session(NamedTuple):
    """The secrets of one process.

    :param token: is in the first URL. The cookie and the form's token are derived from it, and do not reveal it.
    """

    token: str

    @classmethod
    def new(cls) -> "Session":
        """Return a session that nobody can guess."""
        return cls(secrets.token_urlsafe(32))

    @property
    def cookie(self) -> str:
        """The value of the cookie."""
        return self._derived("cookie")

    @property
    def form_token(self) -> str:
        """The value of the hidden field of each form."""
        return self._derived("form")

    def _derived(self, purpose: str) -> str:
        return hmac.digest(self.token.encode(), purpose.encode(), "sha256").hex()


def protect(app: Flask, session: Session, port: int) -> None:
    """Check each request of an application before a view sees it, and add the headers to each response."""
    hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}
    cookie = f"nextstage-page-{port}"  # a cookie is for all ports of a host
    app.config.update(MAX_CONTENT_LENGTH=MAX_BODY_BYTES, MAX_FORM_MEMORY_SIZE=MAX_BODY_BYTES)

    @app.before_request
    def check() -> AnyResponse | None:
        if request.host not in hosts:
            abort(403, _FOREIGN_HOST)
        if request.path == "/" and request.method in _READS and _equal(request.args.get(TOKEN), session.token):
            response = redirect(url_for("overview.show"), 303)
            response.set_cookie(cookie, session.cookie, httponly=True, samesite="Strict")
            return response
        if not _equal(request.cookies.get(cookie), session.cookie):
            raise NotAdmitted
        g.is_admitted = True
        if request.method not in _READS and not (
            _origin() == f"http://{request.host}" and _equal(request.form.get(FORM_FIELD), session.form_token)
        ):
            abort(403, _FOREIGN_FORM)
        return None

    @app.after_request
    def add_headers(response: Response) -> Response:
        response.headers.update(_HEADERS)
        return response


def is_admitted() -> bool:
    """Return whether the current request comes from a browser that is admitted. Only then, an answer shows anything."""
    return bool(g.get("is_admitted"))


class NotAdmitted(HTTPException):
    """The browser has no valid cookie, or did not send it because a link of another site was followed."""

    code = 403
    description = HOW_TO_GET_IN


def _equal(given: str | None, expected: str) -> bool:
    """Compare in a time that does not depend on where the strings differ."""
    return given is not None and hmac.compare_digest(given.encode(errors="replace"), expected.encode())


def _origin() -> str:
    """Return the site from which a request comes; empty if the browser does not tell."""
    origin = request.headers.get("Origin")
    if origin is not None:
        return origin
    referrer = urlsplit(request.headers.get("Referer", ""))
    return f"{referrer.scheme}://{referrer.netloc}"
