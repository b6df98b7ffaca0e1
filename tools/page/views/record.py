"""One record: what happened to an event on a route, what routes.yaml says of it now, and what can be done with it.

Each change is confirmed on a page that says what will happen. It names the state for which it was made, so nothing is
done if the record or routes.yaml has changed since. The journal decides whatever is done: two changes at the
same time lead to one run.
"""

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

from flask import Blueprint, abort, current_app, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from shared.azure_devops.runs import MAX_ID
from shared.errors import ConfigurationError, NextstageError, UnreadableRecord
from shared.journal.records import JournalKey, Record
from shared.telemetry import Outcome
from tools.actions import explanation_view, records
from tools.actions.forecast import Row
from tools.actions.redrive import WOULD_ADOPT, LooksDifferent, adopted_row, forecast_rows, redriven_rows
from tools.console import masked
from tools.errors import CommandFailed
from tools.installation import Installation
from tools.page.page import page
from tools.page.record.choices import choices
from tools.page.record.content import content
from tools.page.record.documents import request_of
from tools.page.record.live_run import LiveRun, LiveRuns

_RUNS: Final = "nextstage-live-runs"
_DIGITS: Final = re.compile("[0-9]{1,19}")
_GONE: Final = (
    "The journal has no such record. A finished record is purged after JOURNAL_RETENTION_DAYS, and a redrive may have "
    "moved it to another key: look for the event on the overview."
)
_CHANGED: Final = "Nothing was done: the record or routes.yaml has changed since you were asked. Look again."

blueprint = Blueprint("record", __name__)
blueprint.add_app_template_global(records.event_name)


@blueprint.get("/record/<route>/<key>")
def show(route: str, key: str) -> str:
    """Show the page."""
    source = page().source
    installation, record = _found(route, key)
    return render_template(
        "record.html",
        found=content(installation, source.reader(), record),
        progress=source.progress,
        live=_live_run(installation, record),
        view=explanation_view,
        scheme=installation.authorization_scheme,
    )


@blueprint.post("/record/<route>/<key>/redrive")
def redrive(route: str, key: str) -> tuple[str, int] | str:
    """Show what a redrive would do, or redrive the record if that is confirmed."""
    installation, record = _found(route, key)
    look = request.form.get("look") != "no"

    def ask(remark: str = "") -> str:
        can_redrive = choices(record, None).redrive
        warning = "" if look else "Nobody searches Azure DevOps for a run of this event. Be sure that it has none."
        return _confirmation(
            installation,
            record,
            title="Redrive this record" if look else "Redrive this record without looking",
            rows=list(forecast_rows(installation, record, look=look)),
            remarks=[remark, warning],
            button=("Redrive" if look else "Redrive without looking") if can_redrive else "",
            fields={} if look else {"look": "no"},
        )

    def act() -> str:
        app = installation.compose(lambda _decision: None)
        return _result(record, "Result of the redrive", list(redriven_rows(app, record, look=look)))

    return _answer(installation, record, ask, act)


@blueprint.post("/record/<route>/<key>/adopt")
def adopt(route: str, key: str) -> tuple[str, int] | str:
    """Show whether a run can be adopted, or adopt it if that is confirmed."""
    installation, record = _found(route, key)

    def ask(remark: str = "") -> str:
        run_id = _run_id()
        row = adopted_row(installation.compose(lambda _decision: None), record, run_id, is_dry=True, is_sure=False)
        return _confirmation(
            installation,
            record,
            title=f"Adopt run {run_id}",
            rows=[row],
            remarks=[remark, "The run becomes that of this record, and nothing is sent."],
            button="Adopt the run" if row.outcome == WOULD_ADOPT else "",
            fields={"run_id": str(run_id)},
        )

    def act() -> str:
        run_id, is_sure = _run_id(), request.form.get("sure") == "yes"
        try:
            app = installation.compose(lambda _decision: None)
            row = adopted_row(app, record, run_id, is_dry=False, is_sure=is_sure)
        except LooksDifferent as exc:
            return _confirmation(
                installation,
                record,
                title=f"Run {run_id} does not look like the run of this event",
                rows=[],
                remarks=[f"Nothing was changed: {exc.different}.", "Adopt it only if you know that it is the event's."],
                button="Adopt the run all the same",
                fields={"run_id": str(run_id), "sure": "yes"},
            )
        return _result(record, "Adoption", [row])

    return _answer(installation, record, ask, act)


@blueprint.get("/record/<route>/<key>/redrive")
@blueprint.get("/record/<route>/<key>/adopt")
def go_back(route: str, key: str) -> Response:
    """Lead to the record if the address of a confirmation is opened again."""
    return redirect(url_for("record.show", route=route, key=key), 303)


def _found(route: str, key: str) -> tuple[Installation, Record]:
    """Return the installation as it is now, and the record.

    :raises NotFound: there is no such record.
    :raises UnreadableRecord: the record cannot be read.
    :raises JournalUnavailable: the journal does not answer.
    """
    installation, wanted = page().now(), JournalKey(route, key)
    record = installation.journal.get(wanted)
    if record is None:
        page().source.forget(wanted)
        abort(404, _GONE)
    return installation, record


@blueprint.errorhandler(UnreadableRecord)
def _unreadable(error: UnreadableRecord) -> tuple[str, int]:
    return render_template("problem.html", title="This record cannot be read", lines=[str(error)]), 500


def _live_run(installation: Installation, record: Record) -> LiveRun | None:
    """Return the state of the record's run in Azure DevOps; None if it has no run.

    A stored request may name any server, and the credential goes only to those that the configuration names.
    """
    if record.run_id is None:
        return None
    wanted = request_of(record)
    if wanted is None:
        return LiveRun(why_unknown="the journal has only a part of the request, which does not say where the run is")
    known = {installation.settings.organization_url}
    with suppress(ConfigurationError):
        known |= {route.organization_url for route in installation.configuration.routes.routes}
    if wanted.organization_url not in known:
        return LiveRun(why_unknown=f"{wanted.organization_url} is neither in the settings nor in routes.yaml")
    current = page()
    runs = current_app.extensions.setdefault(_RUNS, LiveRuns(lambda: current.now().pipelines()))
    assert isinstance(runs, LiveRuns)  # noqa: S101 - set above
    return runs.state(wanted, record.run_id)


def _answer(
    installation: Installation, record: Record, ask: Callable[[str], str], act: Callable[[], str]
) -> tuple[str, int] | str:
    """Ask before a change, or make it if it is confirmed for the record and the routes as they are now."""
    try:
        if request.form.get("confirm") != "yes":
            return ask("")
        if request.form.get("seen") != _seen(installation, record):
            return ask(_CHANGED)
        return act()
    except (CommandFailed, NextstageError) as exc:
        lines = masked(str(exc)).splitlines()
        status = 400 if isinstance(exc, CommandFailed) else 503
        title = "This did not work"
        return render_template("record_result.html", record=record, title=title, rows=[], lines=lines), status


def _seen(installation: Installation, record: Record) -> str:
    """Return what names the state of the record and the routes for which a change was confirmed."""
    try:
        return f"{record.version} {installation.configuration.routes.digest}"
    except ConfigurationError:
        return record.version


def _confirmation(
    installation: Installation,
    record: Record,
    *,
    title: str,
    rows: Sequence[Row],
    remarks: Sequence[str],
    button: str,
    fields: dict[str, Any],
) -> str:
    """Return the page that asks before a change.

    :param rows: what will happen.
    :param button: empty if there is nothing to confirm.
    """
    return render_template(
        "record_confirm.html",
        record=record,
        title=title,
        rows=rows,
        lines=list(filter(None, remarks)),
        button=button,
        fields={**fields, "confirm": "yes", "seen": _seen(installation, record)},
        action=url_for(request.endpoint or "", route=record.key.route, key=record.key.key),
    )


def _result(record: Record, title: str, rows: Sequence[Row]) -> str:
    """Return the page that shows what a change has led to."""
    has_moved = any(row.key for row in rows) and all(row.outcome != Outcome.DEFERRED for row in rows)
    if has_moved:
        page().source.forget(record.key)
    return render_template("record_result.html", record=record, title=title, rows=rows, lines=[], has_moved=has_moved)


def _run_id() -> int:
    """Return the run that was entered.

    :raises CommandFailed: it is not the ID of a run.
    """
    text = request.form.get("run_id", "").strip()
    if not (_DIGITS.fullmatch(text) and 0 < int(text) <= MAX_ID):
        raise CommandFailed(f"the ID of a run is a number such as 501, got '{text[:40]}'; it is in the run's URL")
    return int(text)
