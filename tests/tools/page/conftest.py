"""A browser that the page admits, without a socket."""

from collections.abc import Mapping
from dataclasses import dataclass

import pytest
from flask.testing import FlaskClient
from jinja2.bccache import Bucket, BytecodeCache
from werkzeug.test import TestResponse

from tests.tools.conftest import Desk
from tools.installation import Installation
from tools.page.application import make_app
from tools.page.page import Page
from tools.page.security import FORM_FIELD, Session

PORT = 7090
ORIGIN = f"http://127.0.0.1:{PORT}"


class _Templates(BytecodeCache):
    """Keeps the compiled templates, so that not each test compiles them."""

    def __init__(self) -> None:
        self._code: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if (code := self._code.get(bucket.key)) is not None:
            bucket.bytecode_from_string(code)

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._code[bucket.key] = bucket.bytecode_to_string()


_TEMPLATES = _Templates()


@dataclass(frozen=True)
class Browser:
    """A browser that has opened the first URL, and posts forms as browsers do."""

    page: Page
    client: FlaskClient

    def get(self, path: str) -> TestResponse:
        """Return the answer to a GET request."""
        return self.client.get(path, base_url=ORIGIN, buffered=True)

    def post(self, path: str, fields: Mapping[str, str] | None = None) -> TestResponse:
        """Return the answer to a form of the page with these fields."""
        data = {FORM_FIELD: self.page.session.form_token, **(fields or {})}
        return self.client.post(path, base_url=ORIGIN, headers={"Origin": ORIGIN}, data=data)


def open_page(desk: Desk) -> Browser:
    """Return a browser on a new page of the desk's installation. It is not admitted yet."""
    clock = lambda: desk.clock()  # noqa: E731, PLW0108 - a test may set another clock later
    page = Page(Installation(desk.folder, desk.environment, clock), PORT, Session.new())
    app = make_app(page)
    app.testing = True
    app.jinja_env.bytecode_cache = _TEMPLATES
    return Browser(page, app.test_client())


@pytest.fixture
def browser(desk: Desk) -> Browser:
    """A browser on the page of a desk without Azure DevOps."""
    return admitted(desk)


@pytest.fixture
def busy_browser(busy_desk: Desk) -> Browser:
    """A browser on the page of a desk with the Azure DevOps emulator."""
    return admitted(busy_desk)


def admitted(desk: Desk) -> Browser:
    """Return a browser that has opened the first URL."""
    browser = open_page(desk)
    assert browser.get(browser.page.url.removeprefix(ORIGIN)).status_code == 303
    return browser
