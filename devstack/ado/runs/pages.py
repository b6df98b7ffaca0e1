"""The pages for browsers at the web addresses of runs and pipelines, which need no credential."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from werkzeug.wrappers import Response

from devstack.ado.errors import build_not_found, pipeline_not_found
from devstack.ado.times import timestamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from devstack.ado.call import Call
    from devstack.ado.runs.records import RunRecord

_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 1rem/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 46rem; padding: 0 1rem;
  color-scheme: light dark }}
th {{ text-align: left; vertical-align: top; padding-right: 1.5rem; font-weight: 600 }}
td {{ overflow-wrap: anywhere }}
</style></head>
<body><h1>{title}</h1>
{content}
<p>This is the emulator of nextstage, not Azure DevOps: nothing is built.</p></body></html>
"""


def run_page(call: Call) -> Response:
    """Show a run: its pipeline, state and parameters."""
    run_id = call.integer("buildId") or 0
    run = call.books.run(run_id)
    if run is None:
        raise build_not_found(run_id)
    facts = {
        "Pipeline": f'<a href="definition?definitionId={run.pipeline_id}">{escape(run.pipeline_name)}</a>',
        "State": escape(_state(call, run)),
        "Queued": escape(f"{timestamp(run.created)} by {run.requester.name}"),
        "Branch": escape(run.branch),
        "Tags": escape(", ".join(run.tags)) or "none",
    }
    variables = {name: each.value or "(secret)" for name, each in run.variables.items()}
    content = _table(facts.items())
    for title, values in (("Parameters", run.template_parameters), ("Variables", variables)):
        if values:
            content += f"<h2>{title}</h2>{_values(values)}"
    return _page(f"{run.pipeline_name}, run {run.id}", content)


def pipeline_page(call: Call) -> Response:
    """Show the runs of a pipeline, newest first."""
    pipeline_id = call.integer("definitionId") or 0
    pipeline = call.declaration.pipeline_by_id.get(pipeline_id)
    if pipeline is None:
        raise pipeline_not_found(pipeline_id)
    runs = [run for run in reversed(call.books.known_runs) if run.pipeline_id == pipeline_id]
    rows = ((f'<a href="results?buildId={run.id}">run {run.id}</a>', escape(_state(call, run))) for run in runs)
    title = "\\".join((pipeline.folder.rstrip("\\"), pipeline.name))
    return _page(title, _table(rows) if runs else "<p>No runs.</p>")


def _state(call: Call, run: RunRecord) -> str:
    if run.result is not None:
        return run.result
    is_waiting = run.state == "inProgress" and run.started(call.books.clock()) is None
    return "queued, not started" if is_waiting else {"inProgress": "running"}.get(run.state, run.state)


def _values(values: Mapping[str, str]) -> str:
    return _table((escape(name), escape(value)) for name, value in values.items())


def _table(rows: Iterable[tuple[str, str]]) -> str:
    """Return a table of rows whose cells are HTML."""
    return "<table>" + "".join(f"<tr><th>{name}</th><td>{value}</td></tr>\n" for name, value in rows) + "</table>"


def _page(title: str, content: str) -> Response:
    headers = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
    return Response(
        _PAGE.format(title=escape(title), content=content), headers=headers, content_type="text/html; charset=utf-8"
    )
