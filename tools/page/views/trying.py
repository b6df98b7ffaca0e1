"""What the routes would do with an event."""

import json
from typing import Final

from flask import Blueprint, abort, render_template, request

from shared.errors import ConfigurationError
from shared.journal.records import JournalKey
from shared.suggestion import suggestion
from tools.actions import explanation_view
from tools.errors import CommandFailed
from tools.events.samples import named_sample, sample_files
from tools.installation import Installation
from tools.page.page import page
from tools.page.trial import MAX_CONDITION, MAX_EVENT_BYTES, TOO_LARGE, evaluate, indented

_NO_EVENT: Final = "The journal has no such event. It may have been purged: look for it on the overview."

blueprint = Blueprint("trying", __name__)


@blueprint.get("/try")
def show() -> str:
    """Show the form, empty or with a sample, and what the sample leads to."""
    sample = request.args.get("sample", "")
    return _page(_sample_text(sample) if sample else "", "", sample)


@blueprint.get("/try/<route>/<key>")
def show_event(route: str, key: str) -> str:
    """Show the form with the event of a record, and what the event leads to now."""
    record = page().now().journal.get(JournalKey(route, key))
    if record is None or not record.key.is_about_event:
        abort(404, _NO_EVENT)
    return _page(indented(record.entry.event), "", "")


@blueprint.post("/try")
def answer() -> str:
    """Show what the entered events lead to. Nothing changes, but events do not belong into URLs."""
    return _page(request.form.get("event", ""), request.form.get("condition", "").strip(), "")


def _page(text: str, condition: str, sample: str) -> str:
    installation = page().now()
    return render_template(
        "trying.html",
        text=text,
        condition=condition,
        conditions=_conditions(installation),
        max_condition=MAX_CONDITION,
        max_bytes=MAX_EVENT_BYTES,
        too_large=TOO_LARGE,
        sample=sample,
        samples=list(sample_files()),
        result=evaluate(installation, text, condition),
        view=explanation_view,
        scheme=installation.authorization_scheme,
    )


def _sample_text(name: str) -> str:
    """Return a sample: one that is stored as a file, or of the event type with this name."""
    try:
        sample = named_sample(name)
    except KeyError as exc:
        raise CommandFailed(f"there is no sample '{name}'; {suggestion(name, sample_files())}") from exc
    return json.dumps(sample, indent=2, ensure_ascii=False)


def _conditions(installation: Installation) -> dict[str, str]:
    """Return the routes with a condition, by the condition; none if the routes are invalid."""
    try:
        routes = installation.configuration.routes.routes
    except ConfigurationError:
        return {}
    return {route.when.text: route.name for route in routes if route.when is not None}
