"""The frame of all pages: navigation, errors, and what the script needs."""

import pytest

from shared.errors import JournalUnavailable
from tests.support.canaries import leaks, secret
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


def test_a_journal_that_does_not_answer(desk: Desk, browser: Browser) -> None:
    desk.deliver()
    assert browser.get("/due").status_code == 200
    (desk.folder / "journal.sqlite3").unlink()
    answer = browser.get("/due")
    assert answer.status_code == 503
    assert "journal.sqlite3" in answer.text
    assert 'aria-current="page">Due' in answer.text, "other pages may work"


def test_a_defect_is_shown_on_the_terminal_and_not_to_the_browser(
    browser: Browser, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail() -> str:
        raise LookupError(f"in https://x/?sig={secret('sig')}\x1b[2J")

    browser.client.application.view_functions["waits.show"] = fail
    answer = browser.get("/waits")
    shown = capfd.readouterr().err
    assert answer.status_code == 500
    assert "<h1>This page has a defect</h1>" in answer.text
    assert "The terminal shows where." in answer.text
    assert "LookupError" not in answer.text
    assert shown.startswith("GET /waits failed:\nTraceback")
    assert "LookupError: in https://x/?***" in shown
    assert leaks(answer.text + shown) == []
    assert "\x1b" not in shown


def test_a_failure_is_named_without_secrets(browser: Browser) -> None:
    def fail() -> str:
        raise JournalUnavailable(f"https://x/?sig={secret('sig')} does not answer")

    browser.client.application.view_functions["waits.show"] = fail
    answer = browser.get("/waits")
    assert answer.status_code == 503
    assert "https://x/?*** does not answer" in answer.text
    assert leaks(answer.text) == []


@pytest.mark.parametrize("address", ["/due/try", "/due/put-back"])
def test_the_address_of_a_confirmation_leads_back(desk: Desk, browser: Browser, address: str) -> None:
    desk.deliver()
    assert browser.get(address).location == "/due"
