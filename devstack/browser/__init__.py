"""A real browser for tests and screenshots: Chromium or Chrome, without a window and without a driver.

    with Chromium() as chromium, chromium.tab() as tab:
        tab.open(url)
        tab.click("link", "Routes")
        tab.screenshot(Path("routes.png"))

It is controlled over a pipe with the DevTools protocol (https://chromedevtools.github.io/devtools-protocol/), so that
nothing has to be installed but the browser. Nothing is sent to the internet: only 127.0.0.1 can be reached.
"""
