"""The frame of all pages: navigation, errors, and what the script needs."""

import pytest

from tests.tools.conftest import Desk
from tests.tools.page.conftest import Browser


@pytest.mark.parametrize("path", ["/", "/waits", "/due", "/routes", "/try"])
def test_every_page_names_the_current_one(desk: Desk, browser: Browser, path: str) -> None:
    desk.deliver()
    answer = browser.get(path)
    assert answer.status_code == 200
    assert answer.text.count('aria-current="page"') == 1
    assert f'<a href="{path}" aria-current="page">' in answer.text
    assert '<main id="main"' in answer.text


def test_an_unknown_page_says_what_to_do(browser: Browser) -> None:
    answer = browser.get("/nope")
    assert answer.status_code == 404
    assert "There is no such page" in answer.text
