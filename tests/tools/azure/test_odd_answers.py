"""Answers of Azure Resource Manager in another form than documented, as of a newer version of its API."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from werkzeug.wrappers import Response

from devstack.arm import Fault, Match, sample
from devstack.http_server import serving
from tests.support.azd import PREFIX, Azd
from tests.tools.azure.conftest import TOPICS, Run, lines
from tools.azure.answers import Answer, ResourceManagerError
from tools.azure.event_resources import is_ours, topic_ids
from tools.azure.plan import Plan
from tools.azure.sources import Resource

COMMANDS = (("connect", "--check"), ("connect",), ("doctor", "--deployed"), ("disconnect",))
ABSENT = object()
UPDATE = "; try again, or try a newer nextstage, as Azure may have changed this answer"


@contextmanager
def changing(azd: Azd, change: Callable[[Any], Any]) -> Iterator[dict[str, str]]:
    """Serve the stand-in with other documents in the answers to GET. Return the variable that leads there."""

    def serve(environ: Any, start_response: Any) -> Any:
        answer = Response.from_app(azd.arm, environ)
        if environ["REQUEST_METHOD"] == "GET" and answer.status_code == 200:
            answer.set_data(json.dumps(change(json.loads(answer.get_data()))))
        return answer(environ, start_response)

    with serving(serve) as server:
        yield {"AZURE_RESOURCE_MANAGER_URL": server.url}


def with_member(document: Any, name: str, value: object) -> Any:
    """Return a JSON document with another value for each member of this name."""
    if isinstance(document, list):
        return [with_member(each, name, value) for each in document]
    if not isinstance(document, dict):
        return document
    changed = {each: value if each == name else with_member(inner, name, value) for each, inner in document.items()}
    return {each: inner for each, inner in changed.items() if inner is not ABSENT}


class TestCommands:
    @pytest.mark.parametrize(
        "name",
        [
            *("id", "name", "properties", "identity", "principalId", "tags", "location", "kind", "resourceType"),
            *("apiVersions", "source", "destination", "filter", "deadLetterWithResourceIdentity", "roleDefinitionId"),
        ],
    )
    def test_no_traceback(self, azd: Azd, run: Run, name: str) -> None:
        """The commands run in this process, so an exception that they do not expect ends the test."""
        landing = sample.account()
        azd.arm.add(landing)
        entry = {"source": landing["id"], "types": ["Microsoft.Storage.BlobCreated"]}
        variables = {"NEXTSTAGE_EVENT_SOURCES": json.dumps([entry]), "NEXTSTAGE_WAITS": "true"}
        lines(run("connect", **variables))
        for value in (ABSENT, [None], {}, 5):
            with changing(azd, partial(with_member, name=name, value=value)) as there:
                for command in COMMANDS:
                    result = run(*command, **variables, **there)
                    assert (result.code in {0, 1, 2}, result.err + result.out != "") == (True, True)

    @pytest.mark.parametrize("command", [("connect",), ("connect", "--check"), ("disconnect",)])
    def test_the_message_names_request_and_member(self, azd: Azd, run: Run, command: tuple[str, ...]) -> None:
        lines(run("connect"))
        with changing(azd, partial(with_member, name="source", value=[])) as there:
            request = f"GET subscriptions/{sample.SUBSCRIPTION}/providers/Microsoft.EventGrid/systemTopics"
            words = f"{request}: no usable answer: 'source' must be a string, got a list{UPDATE}"
            run(*command, **there).fails(1, words)

    def test_doctor_goes_on(self, azd: Azd, run: Run) -> None:
        lines(run("connect"))
        with changing(azd, partial(with_member, name="destination", value=[5])) as there:
            result = run("doctor", "--deployed", "--json", **there)
        (found,) = [one for one in result.json if one["check"] == "events"]
        assert found["status"] == "failed"
        assert found["detail"].endswith("no usable answer: 'destination' must be an object, got a list")

    @pytest.mark.parametrize(("body", "what"), [(None, "empty"), ({}, "not a list")])
    def test_an_empty_answer_is_not_an_empty_list(self, azd: Azd, run: Run, body: Any, what: str) -> None:
        """``disconnect`` would find nothing to remove, and say so."""
        lines(run("connect"))
        match = Match(method="GET", path="/systemTopics$")
        azd.arm.plan(Fault(accept=False, match=match, status=200, body=body))
        run("disconnect").fails(1, f"no usable answer: the answer is {what}; ")
        assert azd.names("systemTopics") == [PREFIX]

    def test_a_topic_that_is_deleted_meanwhile(self, azd: Azd, run: Run) -> None:
        """Between the list of the topics and that of its event subscriptions."""
        lines(run("connect", NEXTSTAGE_WAITS="true"))
        error = {"error": {"code": "ResourceNotFound", "message": "Not found."}}
        match = Match(method="GET", path="/eventSubscriptions$")
        azd.arm.plan(Fault(accept=False, match=match, status=404, body=error))
        azd.arm.store.delete(f"{TOPICS}/{PREFIX}")
        said = lines(run("disconnect"))
        assert said[-1] == "deleted the app's role on the workspace ws"


class TestAnswer:
    ODD = Answer({"a": [None], "b": {"c": 5}, "n": None, "e": ""}, "GET x")

    def test_what_is_absent_or_null(self) -> None:
        for name in ("n", "z"):
            read = (self.ODD.text(name, "-"), self.ODD.texts(name), self.ODD.number(name), self.ODD.object(name))
            assert (*read, self.ODD.objects(name)) == ("-", [], 0, {}, [])
        assert self.ODD.text("e", "-") == "-"

    @pytest.mark.parametrize(
        ("read", "words"),
        [
            (lambda odd: odd.text("a"), "'a' must be a string, got a list"),
            (lambda odd: odd.text("n"), "'n' must be a string, got nothing"),
            (lambda odd: odd.text("e"), "'e' must be a string, got nothing"),
            (lambda odd: odd.texts("a"), "'a' must be a list of strings, got nothing"),
            (lambda odd: odd.number("b"), "'b' must be a number, got an object"),
            (lambda odd: odd.object("a"), "'a' must be an object, got a list"),
            (lambda odd: odd.objects("a"), "'a' must be a list of objects, got nothing"),
            (lambda odd: odd.objects("b"), "'b' must be a list, got an object"),
            (lambda odd: odd.object("b").text("c"), "'c' must be a string, got a number"),
        ],
    )
    def test_what_has_another_type(self, read: Callable[[Answer], object], words: str) -> None:
        with pytest.raises(ResourceManagerError) as caught:
            read(self.ODD)
        assert str(caught.value) == f"GET x: no usable answer: {words}{UPDATE}"


@pytest.mark.parametrize(
    ("name", "tags", "expected"),
    [
        ("dev", {"azd-env-name": "dev"}, True),
        ("dev", {"azd-env-name": "prod"}, False),
        ("dev", {}, False),
        ("", {}, False),
        ("", None, False),
    ],
)
def test_a_topic_without_our_tag_is_not_ours(name: str, tags: dict[str, str] | None, expected: bool) -> None:
    """Also for an environment without a name: what is ours may be deleted."""
    plan, resource = Plan(name=name, subscription="0" * 8), Resource("aml", "0" * 8, "rg")
    found = Answer({"id": topic_ids(plan, resource)[0], "tags": tags}, "GET topics")
    assert is_ours(plan, resource, found) is expected
