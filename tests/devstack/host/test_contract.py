"""The stand-in host answers as the real one does. One row for each row measured on the Functions host 4.1037."""

import codecs
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import pytest
from werkzeug.test import Client

from devstack.host import Host, Keys
from tests.support.services.host_apps import import_app

APP = """
@app.event_grid_trigger(arg_name="event")
def aml_event(event: str) -> None:
    calls.append(event)
    if "raise" in event:
        raise RuntimeError("the reason")

@app.route("waits", methods=["POST"], auth_level=func.AuthLevel.FUNCTION)
def web(req: func.HttpRequest) -> str:
    return "web"

@app.route("open", auth_level=func.AuthLevel.ANONYMOUS)
def everybody(req: func.HttpRequest) -> str:
    return "open"
"""

KEYS = Keys("key-system", "key-function", "key-host", "key-master")
WEBHOOK = "/runtime/webhooks/EventGrid?functionName=aml_event&code=key-system"
NOTIFICATION = {"aeg-event-type": "Notification"}
VALIDATION = {"AEG-Event-Type": "SubscriptionValidation"}
EVENT = {"id": "1", "eventType": "T", "data": {"größe": 1}}
CLOUD = {"specversion": "1.0", "id": "1", "type": "T", "source": "/s", "data": {}}
CODE = {"validationCode": "c-1"}
VALIDATED = '{"validationResponse":"c-1"}'
NESTED = b'{"data": ' + b"[" * 5000 + b"]" * 5000 + b"}"


@dataclass(frozen=True)
class Row:
    """A request and its answer.

    :param calls: how often a function is called.
    """

    status: int
    body: object = b""
    headers: Mapping[str, str] = field(default_factory=lambda: NOTIFICATION)
    path: str = WEBHOOK
    method: str = "POST"
    answer: str = ""
    calls: int = 0


def webhook(status: int, key: str | None, calls: int = 0, headers: Mapping[str, str] = NOTIFICATION) -> Row:
    path = WEBHOOK.partition("&code")[0] + ("" if key is None else f"&code={key}")
    return Row(status, EVENT, {**NOTIFICATION, **headers}, path, calls=calls)


def web(status: int, key: str | None, method: str = "POST", **headers: str) -> Row:
    query = "" if key is None else f"?code={key}"
    return Row(status, b"", headers, f"/api/waits{query}", method, "web" if status == 200 else "")


def validated(body: object) -> Row:
    return Row(200, body, VALIDATION, answer=VALIDATED)


RAISED = "Exception while executing function: Functions.aml_event"
IN_HEADER = "x-functions-key"

WEBHOOK_ROWS = {
    "validation: array": validated([{"eventType": "Microsoft.EventGrid.SubscriptionValidationEvent", "data": CODE}]),
    "validation: event": validated({"data": CODE}),
    "validation: CloudEvent": validated({"specversion": "1.0", "data": json.dumps(CODE)}),
    "validation: path in any case": Row(
        200,
        [{"data": CODE}],
        VALIDATION,
        WEBHOOK.replace("webhooks/EventGrid", "WebHooks/eventgrid"),
        answer=VALIDATED,
    ),
    **{
        f"validation without a code: {number}": Row(500, body, VALIDATION)
        for number, body in enumerate(([{"data": {}}], {"data": "{"}, {}, [], b"", b"{", 7, NESTED))
    },
    "OPTIONS": Row(200, method="OPTIONS", headers={"WebHook-Request-Origin": "elsewhere.example.org"}),
    "OPTIONS without an origin": Row(200, method="OPTIONS", headers={}),
    "unsubscribe": Row(202, [EVENT], {"aeg-event-type": "Unsubscribe"}),
    "one event": Row(202, EVENT, calls=1),
    "an array": Row(202, [EVENT], calls=1),
    "an empty array": Row(202, []),
    "an array of three": Row(202, [EVENT] * 3, calls=3),
    "one of three raises": Row(500, [EVENT, {"id": "raise"}, EVENT], answer=RAISED, calls=3),
    "the function raises": Row(500, {"id": "raise"}, answer=RAISED, calls=1),
    "CloudEvent": Row(202, CLOUD, {**NOTIFICATION, "Content-Type": "application/cloudevents+json"}, calls=1),
    "CloudEvents in a batch": Row(
        202, [CLOUD], {**NOTIFICATION, "Content-Type": "application/cloudevents-batch+json"}, calls=1
    ),
    "CloudEvent without the header": Row(400, CLOUD, {"Content-Type": "application/cloudevents+json"}),
    "unknown header": Row(400, EVENT, {"aeg-event-type": "Else"}),
    **{
        f"no event: {number}": Row(500, body)
        for number, body in enumerate((b"{", b"", 7, "text", None, [1], [EVENT, 1], [[EVENT]], NESTED))
    },
    **{
        f"odd event: {number}": Row(202, body, calls=1)
        for number, body in enumerate(({}, {"eventType": 7}, {**EVENT, "data": []}, {**EVENT, "data": None}))
    },
    **{
        f"lenient JSON: {number}": Row(202, body, calls=1)
        for number, body in enumerate(
            (
                b'{"data": NaN}',
                b'{"id": "1", "id": "2"}',
                b'{"id": "\xff"}',
                codecs.BOM_UTF8 + b"{}",
                '{"id": "ä"}'.encode("utf-16"),
            )
        )
    },
    "1 MB": Row(202, {**EVENT, "data": "x" * 1_000_000}, calls=1),
    "10 of 100 KB": Row(202, [{**EVENT, "data": "x" * 100_000}] * 10, calls=10),
    **{
        f"function {name!r}": Row(
            404,
            EVENT,
            path=WEBHOOK.replace("=aml_event", f"={name}"),
            answer=f"cannot find function: '{name}'",
        )
        for name in ("nobody", "AML_EVENT", "web", "")
    },
    "no function": Row(
        404, EVENT, path=WEBHOOK.replace("functionName=aml_event", ""), answer="cannot find function: ''"
    ),
    "no key": webhook(401, None),
    "wrong key": webhook(401, "wrong"),
    "wrong key for an unknown function": Row(401, EVENT, path=WEBHOOK.replace("aml_event&code=key-system", "nobody")),
    "function key": webhook(403, "key-function"),
    "host key": webhook(403, "key-host"),
    "master key": webhook(202, "key-master", 1),
    "key in the header": webhook(202, None, 1, {IN_HEADER: "key-system"}),
    "key in aeg-sas-key": webhook(401, None, 0, {"aeg-sas-key": "key-system"}),
    "PUT": Row(202, EVENT, method="PUT", calls=1),
    "DELETE": Row(202, EVENT, method="DELETE", calls=1),
    "GET": Row(500, method="GET"),
    "HEAD": Row(404, method="HEAD"),
}

HTTP_ROWS = {
    "no key": web(401, None),
    "wrong key": web(401, "wrong"),
    "system key": web(401, "key-system"),
    "function key": web(200, "key-function"),
    "host key": web(200, "key-host"),
    "master key": web(200, "key-master"),
    "key in the header": web(200, None, **{IN_HEADER: "key-function"}),
    "another method": web(404, "key-function", "GET"),
    "anonymous": Row(200, path="/api/open", headers={}, answer="open"),
    "the page": Row(200, path="/", method="GET", headers={}, answer="devstack.host is up and running"),
    "admin without a key": Row(401, path="/admin/host/status", method="GET"),
    "admin with a wrong key": Row(401, path="/admin/host/status?code=wrong", method="GET"),
    "admin with another key": Row(403, path="/admin/host/status?code=key-host", method="GET"),
    "admin with the system key": Row(403, path="/admin/functions/web?code=key-system"),
    "an unknown path of admin": Row(404, path="/admin/nothing?code=key-master", method="GET"),
}


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    return import_app(tmp_path_factory.mktemp("app"), APP)


@pytest.fixture(scope="module")
def client(module: ModuleType) -> Iterator[Client]:
    host = Host(module, threads=4, keys=KEYS)
    yield Client(host)
    host.close()


@pytest.mark.parametrize(
    "row",
    [pytest.param(row, id=f"{kind} {name}") for kind, rows in (("webhook", WEBHOOK_ROWS), ("http", HTTP_ROWS))
     for name, row in rows.items()],
)  # fmt: skip
def test_every_row(client: Client, module: ModuleType, row: Row) -> None:
    module.calls.clear()
    body = row.body if isinstance(row.body, bytes) else json.dumps(row.body).encode()
    response = client.open(row.path, method=row.method, headers=dict(row.headers), data=body)

    assert (response.status_code, response.text, len(module.calls)) == (row.status, row.answer, row.calls)
    if response.text:
        assert response.mimetype == "text/plain"
    for call in module.calls:
        json.loads(call, parse_constant=pytest.fail)  # clean JSON, however lenient the parser was
    if row.method == "OPTIONS":
        assert response.headers["Webhook-Allowed-Origin"] == "eventgrid.azure.net"


def test_the_status_needs_the_master_key(client: Client) -> None:
    assert client.get("/admin/host/status?code=key-master").get_json()["state"] == "Running"


def test_without_keys_none_is_asked_for(module: ModuleType, tmp_path: Path) -> None:
    host = Host(module, threads=1)
    assert Client(host).post("/api/waits").text == "web"
    assert Client(host).get("/admin/host/status").status_code == 200
    host.close()


def test_new_keys_differ() -> None:
    assert len({*Keys.new(), *Keys.new()}) == 2 * len(Keys._fields)
