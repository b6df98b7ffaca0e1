"""``manage.py send``: sends an event to the app as Event Grid does, or to an Event Grid topic."""

import contextlib
import sys
import uuid
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

import typer

from handlers import NAMES
from shared.clock import utc_now
from shared.composition import identity_factory
from shared.durations import short_duration
from shared.errors import InvalidSettings, JournalUnavailable
from shared.events.event import AML_PREFIX
from shared.routing.routes_file import read_routes
from shared.suggestion import suggestion
from shared.telemetry import Outcome
from tools.actions.delivery import SENT, UNKNOWN, Row, Target, host_target, next_step, send_and_wait, topic_target
from tools.actions.records import parsed
from tools.console import Console
from tools.errors import CommandFailed
from tools.events.dead_letters import read_events
from tools.events.documents import (
    Assignment,
    Document,
    Schema,
    assigned,
    event_name,
    in_schema,
    parse_assignment,
    renewed,
)
from tools.events.endpoints import checked_key, is_safe_address
from tools.events.samples import SAMPLE_NAMES, sample_event
from tools.events.topic import KEY_VARIABLE as TOPIC_KEY_VARIABLE
from tools.events.webhook import DEFAULT_FUNCTION, DEFAULT_URL, URL_VARIABLE, webhook
from tools.events.webhook import KEY_VARIABLE as HOST_KEY_VARIABLE
from tools.files import read_text
from tools.help_pages import epilog
from tools.installation import Installation
from tools.options import FunctionOption, JsonOption, duration, installation_of
from tools.presentation import GOOD_OUTCOMES
from tools.shell_completion import event_types

DEFAULT_TIMEOUT: Final = timedelta(seconds=60)

app = typer.Typer()

EPILOG: Final = epilog(
    {
        "send RunCompleted": "a sample event, to the app on this machine",
        "send RunCompleted --set data.runId=r1 --wait": "the same, and wait for the outcome",
        "send event.json --schema cloud": "your own event, as a CloudEvent",
        "send event.json --topic https://TOPIC/api/events": "through an Event Grid topic",
    },
    "not accepted, no answer, or with --wait parked, not finished, or unknown because the journal cannot be read, or "
    "because only the app's own routes.yaml tells",
)

_ROUTE_WIDTH: Final = 24
_OUTCOME_WIDTH: Final = 10


def _assignment(text: str) -> Assignment:
    try:
        return parse_assignment(text)
    except ValueError as exc:
        raise typer.BadParameter(str(exc)) from exc


EventsArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="EVENT.json|TYPE",
        help="A file with one event or an array of events (`-` reads standard input), or an event type, which sends a "
        f"sample event: {', '.join(SAMPLE_NAMES)}, or another type that a route is for.",
        autocompletion=event_types,
    ),
]
SetOption = Annotated[
    list[Assignment] | None,
    typer.Option(
        "--set",
        parser=_assignment,
        metavar="PATH=VALUE",
        help="Set a value in the event, for example data.runId=x or subject=y. The value is parsed as JSON if "
        "possible, and is a string otherwise. May be repeated.",
    ),
]
SchemaOption = Annotated[
    Schema | None, typer.Option("--schema", help="Send the event in this schema. By default, keep its schema.")
]
AsIsOption = Annotated[bool, typer.Option("--as-is", help="Keep id and time. By default, both are replaced.")]
UrlOption = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", help=f"The app's URL.  [default: {URL_VARIABLE}, else {DEFAULT_URL}]"),
]
TopicOption = Annotated[
    str | None,
    typer.Option("--topic", metavar="ENDPOINT", help="Publish the event to this custom Event Grid topic instead."),
]
KeyOption = Annotated[
    str | None,
    typer.Option(
        "--key",
        metavar="KEY",
        help=f"The key of the app or topic. Prefer the environment variables {HOST_KEY_VARIABLE} and "
        f"{TOPIC_KEY_VARIABLE}: other users can see the command line.",
    ),
]
WaitOption = Annotated[bool, typer.Option("--wait", help="Wait until the journal shows the outcome.")]
TimeoutOption = Annotated[
    timedelta | None,
    typer.Option(
        "--timeout",
        parser=duration,
        metavar="DURATION",
        help=f"With --wait, wait at most this long.  [default: {short_duration(DEFAULT_TIMEOUT)}]",
    ),
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show the events that would be sent, and send none.")]


@app.command(epilog=EPILOG)
def send(  # noqa: PLR0913 - every parameter is an option
    context: typer.Context,
    events: EventsArgument,
    *,
    assignments: SetOption = None,
    schema: SchemaOption = None,
    as_is: AsIsOption = False,
    url: UrlOption = None,
    topic: TopicOption = None,
    key: KeyOption = None,
    function: FunctionOption = DEFAULT_FUNCTION,
    wait: WaitOption = False,
    timeout: TimeoutOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Send an event to the app, as Event Grid does.

    The app handles it like any other event: runs are queued. The event goes to the app's Event Grid endpoint, on this
    machine or in Azure. In Azure, the endpoint needs the system key `eventgrid_extension` in EVENTGRID_EXTENSION_KEY.
    With --topic, the event goes to a custom Event Grid topic. The topic needs an access key in EVENTGRID_TOPIC_KEY, or
    your own identity (`az login`) with the role EventGrid Data Sender.

    Each sample event is a new occurrence. An event from a file gets a new id and time, but still names the same run or
    model. If the app has already handled that occurrence, the event is a duplicate: make it a new one with, for
    example, `--set data.runId=x`.

    With --wait, the command reads the journal, with the settings and routes.yaml on this machine, until the outcome is
    known, also for the tasks that wait for the event's run. If the app defers the event, the command delivers it again.
    If the app runs another routes.yaml, the command says so, and shows what that one decided. A topic with Event Grid's
    schema replaces the workspace in the event with its own name.
    """
    installation, console = installation_of(context), Console()
    documents = _documents(installation, events, schema, assignments or [], as_is=as_is)
    target = _target(installation, url, topic, key, function)
    if dry_run:
        console.json(documents)
        return
    sent: list[tuple[Document, list[Row]]] = []
    remarks: dict[str, None] = {}
    for document in documents:
        if wait:
            patience = timeout or DEFAULT_TIMEOUT
            try:
                rows, remark = send_and_wait(installation, target, document, patience, installation.clock)
            except JournalUnavailable as exc:
                if not sent:
                    raise
                rows, remark = [Row("", UNKNOWN, f"not sent: {exc}")], ""
        else:
            rows, remark = [Row("", *target.send(document, 0))], ""
        sent.append((document, rows))
        remarks |= dict.fromkeys(filter(None, [remark, *map(next_step, rows)]))
        if not as_json:
            _show(console, document, rows, target)
    if as_json:
        documented = [(document, [row.document() for row in rows]) for document, rows in sent]
        console.json([{"event": event, "sent_to": target.name, "outcomes": rows} for event, rows in documented])
    for remark in remarks:
        console.note(remark)
    raise typer.Exit(0 if {SENT, *GOOD_OUTCOMES}.issuperset(row.outcome for _, rows in sent for row in rows) else 1)


def _documents(
    installation: Installation,
    events: Sequence[str],
    schema: Schema | None,
    assignments: Sequence[Assignment],
    *,
    as_is: bool,
) -> list[Document]:
    documents = [document for event in events for document in _read(installation, event, as_is=as_is)]
    documents = [in_schema(document, schema) if schema is not None else document for document in documents]
    if not as_is:
        documents = [renewed(document, str(uuid.uuid4()), utc_now()) for document in documents]
    return [assigned(document, assignments) for document in documents]


def _read(installation: Installation, event: str, *, as_is: bool) -> list[Document]:
    """Return the events of a file, or a sample event if the argument is an event type."""
    if event != "-" and not Path(event).exists():
        types = {name.lower(): name for name in SAMPLE_NAMES}
        wanted = event.removeprefix(AML_PREFIX).lower()
        if wanted not in types and not event.endswith(".json"):
            types |= {name.lower(): name for name in _routed_types(installation)}
            if wanted not in types:
                raise CommandFailed(f"{event} is neither a file nor an event type; {suggestion(event, types.values())}")
        if wanted in types:
            return [sample_event(types[wanted], 1 if as_is else uuid.uuid4().int % 10**9)]
    documents: list[Any] = [parsed(one.text) for one in read_events([event], sys.stdin.buffer)]
    if not all(isinstance(document, dict) for document in documents):
        raise CommandFailed(f"{event} contains an item that is not an event; each event must be a JSON object")
    return documents


def _routed_types(installation: Installation) -> set[str]:
    """Return the event types of the routes, as routes.yaml names them; those of the routes that can be read."""
    with contextlib.suppress(CommandFailed, InvalidSettings):
        text = read_text(installation.settings.routes_file)
        reading = read_routes(text, names=NAMES, environment=installation.environment)
        return {route.event for route in reading.table.routes}
    return set()


def _target(installation: Installation, url: str | None, topic: str | None, key: str | None, function: str) -> Target:
    if topic is None:
        key = key or installation.environment.get(HOST_KEY_VARIABLE, "")
        url = url or installation.environ.get(URL_VARIABLE)
        if not url and installation.is_deployed:
            raise CommandFailed(f"the URL of the deployed app is not known; set {URL_VARIABLE}, or give --url")
        return host_target(webhook(url or DEFAULT_URL, function, checked_key(key)))
    if url is not None:
        raise CommandFailed("--url and --topic exclude each other; use only one of them")
    if not is_safe_address(topic):
        raise CommandFailed(
            "--topic must be an https:// URL such as https://<topic>.<region>-1.eventgrid.azure.net/api/events"
        )
    if urlsplit(topic).query or urlsplit(topic).fragment:
        raise CommandFailed(f"--topic must not have a query; give the key with --key or in {TOPIC_KEY_VARIABLE}")
    key = checked_key(key or installation.environment.get(TOPIC_KEY_VARIABLE, ""))
    return topic_target(topic, key, identity_factory(installation.settings))


def _show(console: Console, event: Document, rows: list[Row], target: Target) -> None:
    name = event_name(event)
    for row in rows:
        words = f"to {target.name}: {row.words}" if row.outcome in {SENT, Outcome.DEFERRED} else row.words
        console.row((name, row.route or "-", row.outcome, words), [len(name), _ROUTE_WIDTH, _OUTCOME_WIDTH])
