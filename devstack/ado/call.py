"""One request to the emulated project, read in the same way as Azure DevOps reads it.

All functions here raise ``ApiError`` if the service would refuse the request: a write without an api-version, a
content type other than JSON, a body that is not an object, or a query parameter that is not a number.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from werkzeug.wrappers import Request, Response

from devstack.ado.errors import (
    ApiError,
    content_type_not_supported,
    invalid_argument,
    unauthorized,
    version_is_preview,
    version_not_specified,
    version_out_of_range,
)
from devstack.ado.schemas import problems

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from devstack.ado.access import User
    from devstack.ado.books import Books
    from devstack.ado.declaration import Declaration
    from devstack.ado.runs.behavior import Behavior
    from devstack.ado.state import State

NEWEST_VERSION = (7, 2)
RELEASED_VERSION = (7, 1)
CONTINUATION_HEADER = "x-ms-continuationtoken"
_VERSION = re.compile(r"(\d{1,2})\.(\d)(-preview(?:\.\d+)?)?")
_HEADER_VERSION = re.compile(r"api-version=([^;,\s]+)", re.IGNORECASE)


@dataclass(frozen=True)
class Call:
    """A request and the emulator's state.

    ``root`` is the URL of the organization, as the client knows it. ``behavior`` is what a planned fault changes it to,
    or else the emulator's. ``caller`` is the identity that the credential
    belongs to, or None for control addresses and job tokens.
    """

    request: Request
    state: State
    root: str
    behavior: Behavior
    caller: User | None = None

    @property
    def declaration(self) -> Declaration:
        return self.state.declaration

    @property
    def books(self) -> Books:
        return self.state.books

    @property
    def user(self) -> User:
        """The identity that the credential belongs to.

        :raises ApiError: 401, the credential is a job token.
        """
        if self.caller is None:
            raise unauthorized(self.request.host_url)
        return self.caller

    def check_version(self) -> None:
        """Refuse an api-version that the service does not support, and a write without one."""
        version = self.requested_version()
        if not version:
            if self.request.method not in {"GET", "HEAD"}:
                raise version_not_specified(self.request.method)
            return
        match = _VERSION.fullmatch(version)
        number = (int(match[1]), int(match[2])) if match else (0, 0)
        if not match or not (1, 0) <= number <= NEWEST_VERSION:
            raise version_out_of_range(version, "{}.{}".format(*NEWEST_VERSION))
        if number > RELEASED_VERSION and not match[3]:
            raise version_is_preview(version)

    def requested_version(self) -> str:
        """Return the api-version from the query, else Accept, else Content-Type, else an empty string."""
        if "api-version" in self.request.args:
            return self.request.args["api-version"].strip()
        for header in ("Accept", "Content-Type"):
            match = _HEADER_VERSION.search(self.request.headers.get(header, ""))
            if match:
                return match[1]
        return ""

    def json_object(self) -> dict[str, object]:
        body = json_body(self.request)
        if not isinstance(body, dict):
            raise invalid_argument("The body of the request must be a JSON object.")
        return body

    def body(self, schema: str) -> dict[str, Any]:
        """Return the JSON object in the body.

        :raises ApiError: 400, with all violations of the schema.
        """
        body = self.json_object()
        if found := problems(schema, body):
            raise invalid_argument("\n".join(f"body: {problem}" for problem in found))
        return body

    def integer(self, name: str, least: int = 0) -> int | None:
        """Return a query parameter that must be a whole number, or None if it is absent."""
        text = self.request.args.get(name)
        if text is None:
            return None
        if not re.fullmatch(r"\d{1,10}", text) or int(text) < least:
            raise invalid_argument(f"The query parameter {name} must be a whole number of at least {least}.")
        return int(text)

    def listed(self, name: str) -> list[str]:
        """Return the items of a comma-separated query parameter. The list is empty if it is absent."""
        return [item.strip() for item in self.request.args.get(name, "").split(",") if item.strip()]

    def integers(self, name: str) -> set[int]:
        """Return the IDs in a comma-separated query parameter."""
        items = self.listed(name)
        if not all(re.fullmatch(r"\d{1,10}", item) for item in items):
            raise invalid_argument(f"The query parameter {name} must be a comma-separated list of IDs.")
        return {int(item) for item in items}


def json_body(request: Request) -> object:
    """Return the JSON document in the body.

    :raises ApiError: 415 for another content type, 400 if the body is not JSON.
    """
    if request.mimetype != "application/json":
        raise content_type_not_supported(request.method, request.mimetype)
    try:
        return json.loads(request.get_data(), parse_constant=_refuse_constant)
    except ValueError as exc:
        raise invalid_argument("The body of the request is not JSON.") from exc


def _refuse_constant(name: str) -> object:
    """Refuse NaN and Infinity, which Python accepts but JSON does not allow."""
    raise ValueError(f"{name} is not JSON")


def json_answer(document: object, status: int = 200, continuation: str | None = None) -> Response:
    answer = Response(json.dumps(document), status, content_type="application/json; charset=utf-8; api-version=7.1")
    if continuation is not None:
        answer.headers[CONTINUATION_HEADER] = continuation
    return answer


def collection(values: Sequence[Mapping[str, object]] | Sequence[str], continuation: str | None = None) -> Response:
    """Return a list in the form of the service: ``{"count": …, "value": […]}``."""
    return json_answer({"count": len(values), "value": list(values)}, continuation=continuation)


def error_answer(error: ApiError) -> Response:
    answer = json_answer(error.body, error.status)
    answer.headers.update(error.headers)
    return answer
