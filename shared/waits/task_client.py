"""Tells a task of its end, writes to its log, asks whether it is over: with its own token, or the app's identity."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.credentials import Credential, Secret
from shared.errors import CredentialRejected
from shared.http.message import HttpRequest, HttpResponse, check, decipher
from shared.http.sending import Sender
from shared.waits import task_protocol as protocol
from shared.waits.request import Task


@dataclass(frozen=True, slots=True)
class Access:
    """What may be used to speak for a task.

    :param token: the task's own; None where it cannot be read any more.
    :param identity: whether the app's own identity may be used where the token is not taken.
    """

    token: Secret | None
    identity: bool = False


class TasksClient:
    """Speaks to Azure DevOps about tasks. Every call ends before its deadline. Safe for many threads."""

    def __init__(self, sender: Sender, credential: Credential) -> None:
        """:param credential: the app's own."""
        self._sender = sender
        self._credential = credential

    def complete(self, task: Task, access: Access, result: str, deadline: datetime) -> None:
        """End the task.

        :raises AzureDevOpsError: one per kind of answer; only after AnswerLost may the task have ended.
        """
        self._call(task, access, protocol.complete_task(task, result), deadline)

    def is_over(self, task: Task, access: Access, deadline: datetime) -> bool:
        """Whether the task has ended.

        :raises AzureDevOpsError: it is not known; RequestRefused where there is no such task or plan any more.
        """
        response = self._call(task, access, protocol.list_records(task), deadline)
        return protocol.read_is_over(decipher(response), task)

    def say(self, task: Task, access: Access, lines: Sequence[str], deadline: datetime) -> None:
        """Show lines to whoever looks at the task now.

        :raises AzureDevOpsError: they may not be shown.
        """
        self._call(task, access, protocol.append_to_feed(task, lines), deadline)

    def write_log(self, task: Task, access: Access, lines: Sequence[str], deadline: datetime) -> None:
        """Give the task a log of these lines, for whoever looks later.

        :raises AzureDevOpsError: it may have none, or an empty one.
        """
        created = self._call(task, access, protocol.create_log(task), deadline)
        log_id = protocol.read_log_id(decipher(created))
        self._call(task, access, protocol.append_to_log(task, log_id, lines), deadline)
        self._call(task, access, protocol.attach_log(task, log_id), deadline)

    def _call(self, task: Task, access: Access, request: HttpRequest, deadline: datetime) -> HttpResponse:
        """Send with the task's token; where that is not taken, once with the app's own identity."""
        if access.token is not None:
            response = self._sender.send(task.plan_url, request, f"Bearer {access.token.value}", deadline)
            try:
                check(response)
            except CredentialRejected:
                if not access.identity:
                    raise CredentialRejected(
                        f"the token of {task} is not taken any more, and the app's own identity is not used for it"
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
