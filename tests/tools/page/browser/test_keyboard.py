"""The page without a mouse, and the script that refreshes it."""

import uuid

from devstack.ado.faults import Fault
from devstack.browser.tab import Tab
from devstack.demo.week import registered_model
from shared.clock import utc_now
from tests.support.services.operators_page import Operated

TABBABLE = """
[...document.querySelectorAll("a[href], button, input:not([type=hidden]), select, textarea, summary")]
    .filter(each => each.checkVisibility())
"""
# Whether the element with the focus can be seen, and differs from others.
SEEN = """(() => {
    const focused = document.activeElement, {left, right, top, bottom} = focused.getBoundingClientRect();
    const isVisible = right > 0 && left < innerWidth && bottom > 0 && top < innerHeight;
    (window.seen ??= new Set()).add(focused);
    return isVisible && getComputedStyle(focused).outlineStyle !== "none";
})()"""


def test_every_element_can_be_reached_and_is_marked(admitted: Tab, operated: Operated) -> None:
    for path in ("/", "/routes", "/try", "/due"):
        admitted.open(operated / path)
        unseen = []
        for _ in range(admitted.run(f"{TABBABLE}.length + document.querySelectorAll('pre, .scroll').length")):
            admitted.press("Tab")
            if admitted.run("document.activeElement === document.body"):
                break  # the end of the page
            if not admitted.run(SEEN):
                unseen.append(admitted.focused)
        unreached = admitted.run(f"{TABBABLE}.filter(each => !window.seen.has(each)).map(each => each.outerHTML)")
        assert (path, unseen, unreached) == (path, [], [])


def test_the_navigation_can_be_skipped(admitted: Tab) -> None:
    admitted.press("Tab")
    assert admitted.focused == "link Skip to the content"
    admitted.press("Enter", "Tab")
    assert admitted.run("document.activeElement.closest('main') !== null")


def test_a_parked_event_is_redriven_with_the_keyboard(admitted: Tab, operated: Operated) -> None:
    tab = admitted
    operated.emulator.state.faults.add(Fault(accept=False, status=404, body={"message": "No keyboard is connected"}))
    deliver(operated)
    before = len(operated.emulator.state.books.runs)
    tab.open(operated / "/?state=parked")
    go_on(tab, "link", "document.activeElement.closest('tr')?.innerText.includes('No keyboard is connected')")
    record = tab.url
    assert tab.names("heading")[0].endswith("parked")
    go_on(tab, "button Dry run of redrive")
    assert len(operated.emulator.state.books.runs) == before
    go_on(tab, "button Redrive")
    assert len(operated.emulator.state.books.runs) == before + 1
    go_on(tab, "link Back to the record")
    assert (tab.url, tab.names("heading")[0].endswith("queued")) == (record, True)
    assert tab.problems == []


def test_a_refresh_keeps_the_focus_and_what_was_typed(admitted: Tab, operated: Operated) -> None:
    admitted.open(operated / "/?state=queued")
    admitted.run("document.querySelector('main a[href^=\"/record/\"]').focus()")
    focused, before = admitted.focused, admitted.run("document.activeElement.href")
    refresh(admitted, operated)
    assert (admitted.focused, admitted.run("document.activeElement.href")) == (focused, before)
    admitted.run("document.querySelector('main input[type=search], main input[type=text]').focus()")
    admitted.press("x")
    admitted.run("window.before = document.querySelector('main')")
    deliver(operated)
    admitted.run("document.dispatchEvent(new Event('visibilitychange'))")
    admitted.run("fetch(location.href).then(() => new Promise(done => setTimeout(done, 100)))")
    assert admitted.run("document.querySelector('main') === window.before")
    assert admitted.run("document.activeElement.value") == "x"
    assert admitted.problems == []


def go_on(tab: Tab, name: str, also: str = "true") -> None:
    """Press Tab until an element has the focus, and then Enter, which opens another page.

    :param name: the beginning of the element's role and name.
    :param also: what else is true of it, in JavaScript.
    """
    for _ in range(tab.run(f"{TABBABLE}.length")):
        tab.press("Tab")
        if tab.focused.startswith(name) and tab.run(also):
            break
    else:
        raise AssertionError(f"{name} cannot be reached")
    with tab.loading():
        tab.press("Enter")


def refresh(tab: Tab, operated: Operated) -> None:
    """Let something happen, and wait until the page shows it."""
    tab.run("window.before = document.querySelector('main')")
    deliver(operated)
    tab.run("document.dispatchEvent(new Event('visibilitychange'))")
    tab.wait_for("document.querySelector('main') !== window.before")


def deliver(operated: Operated) -> None:
    operated.deliver(registered_model(uuid.uuid4().int % 10**9, utc_now()))
