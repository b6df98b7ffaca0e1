"""The client for tasks in Azure DevOps: completes a task, writes to its log, and reads whether it has ended."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.azure_devops.runs import API_VERSION, with_api_version
from shared.credentials import Credential, Secret
from shared.errors import CredentialRejected
from shared.http.message import HttpRequest, HttpResponse, check, read_document
from shared.http.sending import Sender
from shared.waits import task_protocol as protocol
from shared.waits.request import Task


@dataclass(frozen=True, slots=True)
class Access:
    """The credentials that may be used for a task.

    :param token: the task's own token; None if it can no longer be decrypted.
    :param identity: whether the app's own identity may be used if Azure DevOps rejects the token.
    """

    token: Secret | None
    identity: bool = False


class TasksClient:
    """Sends requests about tasks to Azure DevOps. Every call ends before its deadline. Thread-safe."""

    def __init__(self, sender: Sender, credential: Credential, api_version: str = API_VERSION) -> None:
        """
        :param credential: the app's own credential.
        :param api_version: the version of the REST API, of which the task API is always a preview.
        """
        self._sender = sender
        self._api_version = api_version.partition("-")[0]
        self._credential = credential

    def complete(self, task: Task, access: Access, result: str, deadline: datetime) -> None:
        """Complete the task.

        :raises AzureDevOpsError: the task was not completed. After AnswerLost, it may have been.
        """
        self._call(task, access, protocol.complete_task(task, result), deadline)

    def has_ended(self, task: Task, access: Access, deadline: datetime) -> bool:
        """Return whether the task has ended.

        :raises AzureDevOpsError: the answer is unknown. RequestRefused if the task or its plan no longer exists.
        """
        response = self._call(task, access, protocol.list_records(task), deadline)
        return protocol.read_is_over(read_document(response), task)

    def show_lines(self, task: Task, access: Access, lines: Sequence[str], deadline: datetime) -> None:
        """Show lines in the live console of the task.

        :raises AzureDevOpsError: the lines may not have been shown.
        """
        self._call(task, access, protocol.append_to_feed(task, lines), deadline)

    def write_log(self, task: Task, access: Access, lines: Sequence[str], deadline: datetime) -> None:
        """Write a permanent log for the task.

        :raises AzureDevOpsError: the task may have no log or an empty one.
        """
        created = self._call(task, access, protocol.create_log(task), deadline)
        log_id = protocol.read_log_id(read_document(created))
        self._call(task, access, protocol.append_to_log(task, log_id, lines), deadline)
        self._call(task, access, protocol.attach_log(task, log_id), deadline)

    def _call(self, task: Task, access: Access, request: HttpRequest, deadline: datetime) -> HttpResponse:
        """Send with the task's token. If it is rejected, send once with the app's identity, if that is permitted."""
        request = with_api_version(request, self._api_version)
        if access.token is not None:
            response = self._sender.send(task.plan_url, request, f"Bearer {access.token.value}", deadline)
            try:
                check(response)
            except CredentialRejected as exc:
                if not access.identity:
                    raise CredentialRejected(
                        f"Azure DevOps rejects the token of {task}, and the app's own identity may not be used for it: "
                        f"{exc}"
                    ) from None
            else:
                return response
        elif not access.identity:
            raise CredentialRejected(f"the token of {task} cannot be decrypted; was a key removed too early?")
        authorization = self._credential.authorization()
        response = self._sender.send(task.plan_url, request, authorization, deadline)
        try:
            check(response)
        except CredentialRejected:
            self._credential.reject(authorization)
            raise
        return response
