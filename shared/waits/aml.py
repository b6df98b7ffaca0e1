"""Asks Azure ML what has become of a run, through Azure Resource Manager."""

import json
from datetime import datetime
from typing import Final
from urllib.parse import quote

from shared.credentials import Credential
from shared.errors import AzureDevOpsError, RunStatusUnavailable
from shared.events.event import RunEnd
from shared.events.runs import final_status
from shared.http.message import HttpRequest, HttpResponse
from shared.http.sending import Sender

# Source: Azure REST API, Azure Machine Learning - Jobs - Get.
API_VERSION: Final = "2024-04-01"


class AmlRuns:
    """The runs of one workspace. Safe for many threads."""

    def __init__(self, manager_url: str, workspace_id: str, sender: Sender, credential: Credential) -> None:
        """
        :param manager_url: Azure Resource Manager's, as in https://management.azure.com.
        :param workspace_id: the workspace's resource id.
        :param credential: gives tokens for Azure Resource Manager.
        """
        self._manager_url = manager_url.rstrip("/")
        self.workspace_id = "/" + workspace_id.strip("/")
        self._sender = sender
        self._credential = credential

    def end_of(self, run_id: str, deadline: datetime) -> RunEnd | None:
        """How a run has ended; None where it has not, or where the workspace has no such run.

        :raises RunStatusUnavailable: that cannot be found out.
        """
        path = f"{quote(self.workspace_id)}/jobs/{quote(run_id, safe='')}?api-version={API_VERSION}"
        try:
            authorization = self._credential.authorization()
            request = HttpRequest("GET", self._manager_url + path)
            response = self._sender.send(self._manager_url, request, authorization, deadline)
        except AzureDevOpsError as exc:  # no credential, no connection, no time
            raise RunStatusUnavailable(f"Azure ML cannot be asked for run {run_id}: {exc}") from exc
        if response.status == 401:
            self._credential.reject(authorization)
        status = _read_status(response, run_id)
        final = None if status is None else final_status(status)
        return None if final is None else RunEnd(self.workspace_id, run_id, final)


def _read_status(response: HttpResponse, run_id: str) -> str | None:
    if response.status == 404:
        return None
    if response.status != 200:
        advice = "; give the app's identity the role Reader on the workspace" if response.status in {401, 403} else ""
        raise RunStatusUnavailable(f"Azure ML answers HTTP {response.status} when asked for run {run_id}{advice}")
    try:
        status = json.loads(response.body)["properties"]["status"]
    except (ValueError, TypeError, KeyError, RecursionError) as exc:
        raise RunStatusUnavailable(f"Azure ML's answer for run {run_id} names no status") from exc
    return str(status)
