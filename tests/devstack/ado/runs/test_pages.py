"""The web addresses of runs and pipelines lead to pages that a browser can show, without a credential."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.support.services.emulator import PLAIN_RUN, Ado

if TYPE_CHECKING:
    from werkzeug.test import TestResponse


def browse(ado: Ado, url: str) -> TestResponse:
    """Open an address as a browser does."""
    path, _, query = url.partition("localhost")[2].partition("?")
    name, _, value = query.partition("=")
    headers = {"Authorization": "", "X-TFS-FedAuthRedirect": "", "Accept": "text/html"}
    return ado.ask("GET", path, headers=headers, query={"api-version": None, name: value})


def text_of(answer: TestResponse) -> str:
    """Return the text of a page, without its markup."""
    assert (answer.status_code, answer.mimetype) == (200, "text/html")
    return " ".join(re.sub(r"<style>.*?</style>|<[^>]+>", " ", answer.text, flags=re.DOTALL).split())


def test_the_page_of_a_run_shows_pipeline_state_and_parameters() -> None:
    ado = Ado()
    secret = {"apiKey": {"value": "canary-api-key", "isSecret": True}}
    run = ado.run({"templateParameters": {"runId": "<b>&fig</b>"}, "variables": secret})
    ado.emulator.books.add_tags(run["id"], ["nextstage"])
    address = run["_links"]["web"]["href"]

    page = browse(ado, address)
    assert "State queued, not started" in text_of(page)
    assert "Pipeline everything" in text_of(page)
    assert "Tags nextstage" in text_of(page)
    assert "runId &lt;b&gt;&amp;fig&lt;/b&gt;" in text_of(page)
    assert "environment test" in text_of(page)
    assert "apiKey (secret)" in text_of(page)
    assert "canary" not in page.text

    ado.emulator.finish_run(run["id"], "failed")
    assert "State failed" in text_of(browse(ado, address))
    assert [request.path for request in ado.emulator.books.requests] == ["/contoso/mlops/_apis/pipelines/1/runs"]


def test_the_page_of_a_pipeline_links_to_its_runs() -> None:
    ado = Ado()
    first, second = ado.run(), ado.run()
    page = browse(ado, first["_links"]["pipeline.web"]["href"])
    assert "\\mlops\\everything" in text_of(page)
    assert re.findall(r'href="results\?buildId=(\d+)"', page.text) == [str(second["id"]), str(first["id"])]
    bare = browse(ado, ado.run(PLAIN_RUN | {"templateParameters": {}}, pipeline=4)["_links"]["web"]["href"])
    assert "Parameters" not in text_of(bare)


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("/contoso/mlops/_build/results?buildId=1", "BuildNotFoundException"),
        ("/contoso/mlops/_build/results", "BuildNotFoundException"),
        ("/contoso/mlops/_build/results?buildId=x", "VssPropertyValidationException"),
        ("/contoso/mlops/_build/definition?definitionId=99", "PipelineNotFoundException"),
        ("/contoso/other/_build/results?buildId=1", "ProjectDoesNotExistWithNameException"),
    ],
)
def test_an_unknown_run_or_pipeline(path: str, key: str) -> None:
    answer = browse(Ado(), f"http://localhost{path}")
    assert answer.status_code in {400, 404}
    assert answer.json is not None
    assert answer.json["typeKey"] == key
