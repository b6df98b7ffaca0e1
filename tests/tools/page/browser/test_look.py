"""How the pages look: no violation of accessibility, no page wider than the window, nothing in the console."""

from collections.abc import Iterator

from devstack import axe
from devstack.browser.tab import Tab
from tests.support.prerequisites import need
from tests.support.services.operators_page import Operated

PAGES = ("/", "/?span=week&by=route", "/waits", "/due", "/routes", "/try?sample=run-completed")
ALSO_DARK = ("/", "/routes", "/try?sample=run-completed")
"""These have all colors that the pages have."""
WRONG = ("/?newer=x", "/nothing", "/record/evaluate/nothing", "/try?sample=nothing")
WIDTHS = (1440, 768, 360, 320)

# What reaches over the right edge of the window, unless it scrolls in its parent.
WIDER = """
document.documentElement.scrollWidth <= innerWidth ? [] : [...document.querySelectorAll("body *")]
    .filter(each => each.getBoundingClientRect().right > innerWidth && !each.closest("pre, .scroll, textarea, .skip"))
    .map(each => each.outerHTML.slice(0, 200))
"""


def test_every_page_is_accessible_and_fits_the_window(admitted: Tab, operated: Operated) -> None:
    need(axe.installation_problem())
    found: dict[tuple[str, str | int], list[str]] = {}
    for path in (*PAGES, *records(admitted, operated)):
        admitted.resize(WIDTHS[0])
        admitted.open(operated / path)
        admitted.prefer("light")
        found[path, "light"] = axe.violations(admitted)
        if path in ALSO_DARK:
            admitted.prefer("dark")
            found[path, "dark"] = axe.violations(admitted, "color-contrast")
        for width in WIDTHS:
            admitted.resize(width)
            found[path, width] = admitted.run(WIDER)
    admitted.open(operated / "/?state=released")
    with admitted.loading():
        admitted.run("document.querySelector('main a[href^=\"/record/\"]').click()")
    admitted.follow("button", "Dry run of redrive")
    found["a confirmation", "light"] = axe.violations(admitted)
    found["a confirmation", WIDTHS[-1]] = admitted.run(WIDER)
    admitted.follow("button", "Redrive")
    found["a result", "light"] = axe.violations(admitted)
    found["a result", WIDTHS[-1]] = admitted.run(WIDER)
    assert admitted.problems == []
    for path in WRONG:
        admitted.open(operated / path)
        found[path, "light"] = axe.violations(admitted)
        found[path, WIDTHS[-1]] = admitted.run(WIDER)
    assert {place: wrong for place, wrong in found.items() if wrong} == {}


def records(tab: Tab, operated: Operated) -> Iterator[str]:
    """Yield the path of a record for each of some states."""
    for state in ("parked", "released", "queued"):
        tab.open(operated / f"/?state={state}")
        yield tab.run("document.querySelector('main a[href^=\"/record/\"]').getAttribute('href')")


def test_the_color_scheme_is_the_one_of_the_system(admitted: Tab) -> None:
    grounds = {}
    for scheme in ("light", "dark"):
        admitted.prefer(scheme)
        grounds[scheme] = admitted.run("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert min(grounds["light"]) > 200
    assert max(grounds["dark"]) < 60


def test_a_browser_without_the_token_sees_nothing(tab: Tab, operated: Operated) -> None:
    tab.open(operated / "/")
    assert "Open the address that the terminal shows" in tab.text
    assert "journal" not in tab.text
    need(axe.installation_problem())
    assert axe.violations(tab) == []
