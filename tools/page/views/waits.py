"""The tasks that wait for Azure ML runs."""

from typing import NamedTuple

from flask import Blueprint, render_template, request

from shared.journal.records import Record
from shared.waits.task_protocol import plan_address
from shared.waits.wait import Wait
from tools.actions import records
from tools.page.page import page
from tools.page.paging import SIZE, part

blueprint = Blueprint("waits", __name__)


class WaitRow(NamedTuple):
    """A wait, as the list shows it.

    :param plan_url: the address of the task's plan in Azure DevOps.
    """

    record: Record
    wait: Wait
    plan_url: str


@blueprint.get("/waits")
def show() -> str:
    """Show the tasks that wait now; with ``all``, also those that have waited."""
    source, unreadable, is_all = page().source, records.Unreadable(), "all" in request.args
    waits = records.waits(source.reader().journal, unreadable, include_over=is_all)
    found = part(waits, request.args.get("page"))
    rows = [_row(record) for record in found.items]
    return render_template(
        "waits.html", rows=rows, part=found, is_all=is_all, notes=unreadable.words(SIZE), progress=source.progress
    )


def _row(record: Record) -> WaitRow:
    wait = Wait.of(record)
    return WaitRow(record, wait, plan_address(wait.task))
