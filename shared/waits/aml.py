"""Gets the final status of a run from Azure ML, through Azure Resource Manager."""

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
    """The runs of one workspace. Thread-safe."""

    def __init__(self, manager_url: str, workspace_id: str, sender: Sender, credential: Credential) -> None:
        """
        :param manager_url: the address of Azure Resource Manager, for example https://management.azure.com.
        :param workspace_id: the resource id of the workspace.
        :param credential: provides tokens for Azure Resource Manager.
        """
        self._manager_url = manager_url.rstrip("/")
        self.workspace_id = "/" + workspace_id.strip("/")
        self._sender = sender
        self._credential = credential

    def end_of(self, run_id: str, deadline: datetime) -> RunEnd | None:
        """Return the end of a run; None if the run has not ended or does not exist in the workspace.

        :raises RunStatusUnavailable: Azure ML cannot be reached, or its answer has no status.
        """
        path = f"{quote(self.workspace_id)}/jobs/{quote(run_id, safe='')}?api-version={API_VERSION}"
        try:
            authorization = self._credential.authorization()
            request = HttpRequest("GET", self._manager_url + path)
            response = self._sender.send(self._manager_url, request, authorization, deadline)
        except AzureDevOpsError as exc:  # no credential, no connection or no time
            raise RunStatusUnavailable(f"cannot get the status of run {run_id} from Azure ML: {exc}") from exc
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
        # 400: no job can have this name, for example.
        raise RunStatusUnavailable(
            f"cannot get the status of run {run_id}: Azure ML answered HTTP {response.status}{advice}",
            is_about_run=response.status == 400,
        )
    try:
        status = json.loads(response.body)["properties"]["status"]
    except (ValueError, TypeError, KeyError, RecursionError) as exc:
        raise RunStatusUnavailable(
            f"cannot get the status of run {run_id}: the answer of Azure ML has no status"
        ) from exc
    return str(status)
