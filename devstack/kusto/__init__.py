"""Checks Kusto queries against the tables of Application Insights, with Microsoft's own language service.

    findings(["traces | where messages == ''"])  # [["1:16: The name 'messages' does not refer to any known column, …"]]

Install it with ``npm ci --prefix devstack/kusto``. Nothing is sent anywhere.
"""

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from devstack import npm

_FOLDER: Final = Path(__file__).parent
_SERVICE: Final = npm.installed("kusto", "@kusto/language-service-next/Kusto.Language.Bridge.min.js")
_SECONDS: Final = 120

# Source: Microsoft's documentation of workspace-based Application Insights resources, "Table schemas".
_COMMON: Final = """
    appId: string, application_Version: string, appName: string, client_Browser: string, client_City: string,
    client_CountryOrRegion: string, client_IP: string, client_Model: string, client_OS: string,
    client_StateOrProvince: string, client_Type: string, cloud_RoleInstance: string, cloud_RoleName: string,
    customDimensions: dynamic, customMeasurements: dynamic, iKey: string, itemCount: int, itemId: string,
    itemType: string, operation_Id: string, operation_Name: string, operation_ParentId: string,
    operation_SyntheticSource: string, sdkVersion: string, session_Id: string, timestamp: datetime,
    user_AccountId: string, user_AuthenticatedId: string, user_Id: string
"""
# Of the tables of Log Analytics, only what the queries on sizes need.
_SIZES: Final = "TimeGenerated: datetime, _BilledSize: real"

TABLES: Final = {
    "traces": f"{_COMMON}, message: string, severityLevel: int",
    "exceptions": f"""{_COMMON}, assembly: string, details: dynamic, handledAt: string, innermostAssembly: string,
        innermostMessage: string, innermostMethod: string, innermostType: string, message: string, method: string,
        outerAssembly: string, outerMessage: string, outerMethod: string, outerType: string, problemId: string,
        severityLevel: int, type: string""",
    "requests": f"""{_COMMON}, duration: real, id: string, name: string, performanceBucket: string,
        resultCode: string, source: string, success: string, url: string""",
    **dict.fromkeys(("AppExceptions", "AppMetrics", "AppRequests", "AppTraces"), _SIZES),
}
"""The columns of each table with their types."""


class KustoFailed(Exception):
    """The language service could not be run. The message includes the end of its output."""


def installation_problem() -> str | None:
    """Return what is missing and how to install it, or None if queries can be checked."""
    return npm.installation_problem("Microsoft's language service for Kusto", "kusto", _SERVICE)


def findings(queries: Sequence[str]) -> list[list[str]]:
    """Return the errors and warnings of each query, as ``line:column: message``.

    :raises KustoFailed: the language service is not installed, or has failed.
    """
    if (problem := installation_problem()) is not None:
        raise KustoFailed(problem)
    done = subprocess.run(  # noqa: S603 - our own pinned program
        [shutil.which("node") or "node", str(_FOLDER / "check.js")],
        input=json.dumps({"tables": TABLES, "queries": list(queries)}),
        capture_output=True,
        encoding="utf-8",
        timeout=_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise KustoFailed(f"the language service has failed (exit code {done.returncode}): {done.stderr[-2000:]}")
    found = json.loads(done.stdout)
    return [[_shown(query, each) for each in own] for query, own in zip(queries, found, strict=True)]


def _shown(query: str, found: dict[str, Any]) -> str:
    before = query[: found["start"]]
    return f"{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}: {found['message']}"
