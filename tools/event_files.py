"""``python -m tools.event_files``: writes the files generated from the event types in handlers/ and from routes.yaml.

The files are the sample events in devstack/events, the requests in test.http that send them, the table of names in
docs/routes.md, and routes.schema.json.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from handlers import DISPATCH, EVENT_TYPES, NAMES
from shared.deciding import Verdict, decide
from shared.events.event_type import Name
from shared.routing.routes_file import load_routes
from shared.routing.table import Match
from tools.events.documents import Schema, schema_of
from tools.events.samples import sample_files
from tools.routes.schema import FILE_NAME, schema_text

ROOT: Final = Path(__file__).resolve().parents[1]

_ENVIRONMENT: Final = {"AZURE_DEVOPS_ORG_URL": "https://dev.azure.com/sample", "AZURE_DEVOPS_PROJECT": "sample"}
_CONTENT_TYPES: Final = {Schema.EVENT_GRID: "application/json", Schema.CLOUD: "application/cloudevents+json"}
_HTTP_REQUEST: Final = """\
### {name}: {outcome}
POST {{{{host}}}}/runtime/webhooks/eventgrid?functionName=aml_event
aeg-event-type: Notification
Content-Type: {content_type}

< ./{file}

"""
# The generated part of each document lies between these two strings.
_REQUESTS: Final = ("@ado = http://127.0.0.1:7080\n\n", "### Is the host up?")
_TABLE: Final = ("| event | names | identified by |\n|---|---|---|\n", "\n\n")


def event_files() -> dict[str, str]:
    """Return the content of each generated file, by its path in the project."""
    samples = {f"devstack/events/{name}.json": event for name, event in sample_files().items()}
    requests = "".join(map(_HTTP_REQUEST.format_map, _requests(samples)))
    names = "\n".join(map(_table_row, EVENT_TYPES))
    return {
        **{file: json.dumps(event, indent=2) + "\n" for file, event in samples.items()},
        "test.http": _replaced("test.http", _REQUESTS, requests),
        "docs/routes.md": _replaced("docs/routes.md", _TABLE, names),
        FILE_NAME: schema_text(NAMES),
    }


def _replaced(file: str, between: tuple[str, str], text: str) -> str:
    document = (ROOT / file).read_text(encoding="utf-8")
    before, start, rest = document.partition(between[0])
    _, end, after = rest.partition(between[1])
    return f"{before}{start}{text}{end}{after}"


def _requests(samples: Mapping[str, dict[str, object]]) -> Iterator[dict[str, str]]:
    """Yield the values for each sample's request, with its outcome if the samples are sent in this order."""
    routes = load_routes(
        (ROOT / "routes.yaml").read_text(encoding="utf-8"), source="routes.yaml", names=NAMES, environment=_ENVIRONMENT
    )
    seen: set[object] = set()
    for file, event in samples.items():
        yield {
            "name": Path(file).stem,
            "file": file,
            "content_type": _CONTENT_TYPES[schema_of(event)],
            "outcome": _outcome(decide(json.dumps(event), DISPATCH, routes), seen),
        }


def _outcome(verdict: Verdict, seen: set[object]) -> str:
    """Return the outcome of a first delivery and its reason.

    :param seen: the keys and cooldown windows of earlier events; those of this event are added.
    """
    if not verdict.decisions:
        return f"ignored: {verdict.why_nothing}"
    decision = verdict.decisions[0]
    if not isinstance(decision, Match):
        return f"parked: {decision.reason}"
    if decision.key in seen:
        return "duplicate: an event above is about the same occurrence"
    if decision.gather is not None:
        seen.add(decision.key)
        return "gathered: one run when it is quiet"
    if decision.window in seen:
        return "suppressed: within the cooldown of an event above"
    seen |= {decision.key, decision.window} - {None}
    return f"queued: {decision.request.pipeline}"


def _table_row(event: str) -> str:
    declared = EVENT_TYPES[event]
    names = " ".join(f"`{name}`{_remark(kind)}" for name, kind in declared.names.items())
    return f"| `{event}` | {names} | {declared.identified_by} |"


def _remark(name: Name) -> str:
    """Return what the value of a name may be, in parentheses; empty if it may be any string."""
    kind = f"one of {', '.join(f'`{value}`' for value in name.one_of)}" if name.one_of else name.kind
    remark = f"{kind} or null" if name.may_be_null else kind
    return "" if remark == "string" else f" ({remark})"


def main() -> None:
    """Write the files, and remove obsolete samples."""
    files = event_files()
    for sample in (ROOT / "devstack" / "events").glob("*.json"):
        if f"devstack/events/{sample.name}" not in files:
            sample.unlink()
    for file, text in files.items():
        (ROOT / file).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
