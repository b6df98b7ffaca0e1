"""Checks the accessibility of a page in the browser, with axe-core (https://github.com/dequelabs/axe-core).

Install it with ``npm ci --prefix devstack/axe``.
"""

import json
from typing import Final

from devstack import npm
from devstack.browser.tab import Tab

_SCRIPT: Final = npm.installed("axe", "axe-core/axe.min.js")
_RUN: Final = """
axe.run({resultTypes: ["violations"], ...OPTIONS}).then(({violations}) => violations
    .filter(({impact}) => impact === "serious" || impact === "critical")
    .flatMap(({id, nodes}) => nodes.map(({html, failureSummary}) => `${id}: ${html}: ${failureSummary}`)))
"""


def installation_problem() -> str | None:
    """Return what is missing and how to install it, or None if pages can be checked."""
    return None if _SCRIPT.exists() else f"axe-core is not installed: run '{npm.install_command('axe')}'"


def violations(tab: Tab, *rules: str) -> list[str]:
    """Return each serious or critical violation on the page: the rule, the element, and what to do.

    :param rules: the rules to check; by default, all.
    """
    if not tab.run("typeof axe === 'object'"):
        tab.run(f"{_SCRIPT.read_text(encoding='utf-8')}; null")
    options = {"runOnly": rules} if rules else {}
    found: list[str] = tab.run(_RUN.replace("OPTIONS", json.dumps(options)))
    return found
