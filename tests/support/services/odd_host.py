"""A host with scripted answers, which records its requests."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from werkzeug.datastructures import Headers
from werkzeug.wrappers import Request, Response

from devstack.http_server import serving

Answer = tuple[int, dict[str, str], str]
"""Status, headers and text. CODE in the text is replaced by the code of the validation event."""


@dataclass
class ScriptedHost:
    """A host.

    :param answers: answers in order; the last one is repeated.
    :param asked: method, path with query, headers and JSON document of each request.
    """

    answers: list[Answer]
    asked: list[tuple[str, str, Headers, Any]] = field(default_factory=list)
    url: str = ""

    def answer(self, request: Request) -> Response:
        document = json.loads(request.get_data() or "null")
        self.asked.append((request.method, request.full_path, request.headers, document))
        status, headers, text = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        code = document[0]["data"].get("validationCode", "") if isinstance(document, list) else ""
        return Response(text.replace("CODE", code), status, headers)


@contextmanager
def answering(*answers: Answer) -> Iterator[ScriptedHost]:
    """Serve these answers in order; the last one is repeated."""
    odd = ScriptedHost(list(answers))
    with serving(Request.application(odd.answer)) as server:
        odd.url = server.url
        yield odd
