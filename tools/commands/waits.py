"""``manage.py waits``: lists which tasks wait for which runs. Reads the journal and changes nothing."""

from datetime import datetime
from typing import Annotated, Any, Final

import typer

from shared.durations import short_duration
from shared.journal.records import Record
from shared.waits.wait import Wait
from tools.actions import records
from tools.actions.records import SHOWN_KEY
from tools.console import Console
from tools.help_pages import INCOMPLETE, epilog
from tools.options import JsonOption, installation_of

_HEAD: Final = ("KEY", "RUN", "WORKSPACE", "STATE", "AGE", "PLAN", "REASON")
_MAX_UNREADABLE: Final = 50

app = typer.Typer()

EPILOG: Final = epilog(
    {"waits": "the tasks that wait now", "waits --all": "also the tasks that have waited"}, INCOMPLETE
)


@app.command("waits", epilog=EPILOG)
def list_waits(
    context: typer.Context,
    *,
    include_over: Annotated[bool, typer.Option("--all", help="Include waits that are over.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List the tasks that wait for Azure ML runs.

    These are tasks in Azure Pipelines; the oldest wait comes first. nextstage completes a task when the event of its
    run arrives. A timer checks the remaining tasks every ten minutes. `manage.py journal show KEY` shows everything
    about one wait.
    """
    installation, console = installation_of(context), Console()
    unreadable = records.Unreadable()
    found = records.waits(installation.journal, unreadable, include_over=include_over)
    if as_json:
        console.json([_document(record) for record in found])
    elif found:
        console.table(_HEAD, [_row(record, installation.clock()) for record in found])
    else:
        console.line(f"no waiting tasks in {installation.searched_journal}")
    raise typer.Exit(console.incomplete(unreadable.words(_MAX_UNREADABLE)))


def _row(record: Record, now: datetime) -> tuple[str, ...]:
    wait = Wait.of(record)
    return (
        record.key.key[:SHOWN_KEY],
        wait.run_id,
        wait.workspace or "any",
        record.state,
        short_duration(now - wait.registered_at),
        wait.task.plan_id,
        record.reason,
    )


def _document(record: Record) -> dict[str, Any]:
    wait = Wait.of(record)
    return {
        "key": record.key.key,
        "run_id": wait.run_id,
        "workspace": wait.workspace,
        "state": record.state.value,
        "registered_at": wait.registered_at.isoformat(),
        "plan_url": wait.task.plan_url,
        "project_id": wait.task.project_id,
        "plan_id": wait.task.plan_id,
        "job_id": wait.task.job_id,
        "task_instance_id": wait.task.task_instance_id,
        "reason": record.reason,
    }
