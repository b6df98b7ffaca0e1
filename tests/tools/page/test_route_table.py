"""What the page Routes shows of a route."""

from datetime import timedelta
from pathlib import Path

import pytest

from shared.journal.records import State
from shared.routing.table import Route
from tests.tools.conftest import Desk
from tools.installation import Installation
from tools.page.reading.statistics import RouteStatistics
from tools.page.route_table import RouteRow, RoutesFile, counts_words, pipeline_url, read_routes_file, rows

ORGANIZATION = "https://dev.azure.com/contoso"


def row(statistics: RouteStatistics | None) -> RouteRow:
    return RouteRow(Route("a", "RunCompleted", ORGANIZATION, "mlops", 7), 4, (), "7", "", statistics)


def read(desk: Desk) -> RoutesFile:
    return read_routes_file(Installation(desk.folder, desk.environment))


@pytest.mark.parametrize(
    ("queued", "parked", "shown"),
    [(0, 0, ""), (0, 3, "0 %"), (5, 0, "100 %"), (5, 1, "83.3 %"), (99_999, 1, "99.9 %")],
)
def test_the_success_is_rounded_down(queued: int, parked: int, shown: str) -> None:
    assert row(RouteStatistics({State.QUEUED: queued, State.PARKED: parked}, None)).success == shown


def test_what_is_not_known_is_empty() -> None:
    for statistics in (None, RouteStatistics({}, None)):
        assert (row(statistics).success, row(statistics).delays) == ("", "")


def test_delays() -> None:
    found = RouteStatistics({}, None, timedelta(seconds=3.2), timedelta(minutes=4), 20)
    assert row(found).delays == "3s / 4m"


def test_counts() -> None:
    assert counts_words({State.QUEUED: 12, State.PARKED: 1}) == "12 queued, 1 parked"


@pytest.mark.parametrize(
    ("pipeline", "project", "url"),
    [
        (7, "mlops", f"{ORGANIZATION}/mlops/_build/definition?definitionId=7"),
        ("train", "a b/c?", f"{ORGANIZATION}/a%20b/c%3F/_build"),
    ],
)
def test_the_page_of_a_pipeline(pipeline: int | str, project: str, url: str) -> None:
    assert pipeline_url(Route("a", "RunCompleted", ORGANIZATION, project, pipeline)) == url


def test_the_rows_are_in_the_order_of_the_file(desk: Desk) -> None:
    desk.routes(
        "name: b\nevent: RunCompleted\npipeline: 7\nwhen: run_id == 'x'\ncooldown: 6h\nenabled: false",
        "name: a\nevent: ModelRegistered\npipeline: p\nproject: other",
    )
    statistics = RouteStatistics({State.QUEUED: 1}, None)
    found = rows(read(desk), {"a": statistics, "removed": statistics})
    assert [(each.route.name, each.line, each.pipeline, each.statistics) for each in found] == [
        ("b", 4, "7 in mlops", None),
        ("a", 10, "p in other", statistics),
    ]
    assert [each.notes for each in found] == [("when run_id == 'x'", "at most once in 6h"), ()]


def test_errors_come_first_with_their_lines(desk: Desk) -> None:
    desk.routes(
        "name: a\nevent: RunCompleted\npipeline: p\ncauses: [RunCompleted]",
        "name: b\nevent: RunCompleted\npipeline: p\nwhen: run_idd == 'x'",
    )
    file = read(desk)
    assert (file.summary, file.is_invalid) == ("1 error, 1 warning", True)
    assert [(each.finding.line, each.finding.severity, each.line) for each in file.remarks] == [
        (11, "error", "when: run_idd == 'x'"),
        (7, "warning", "causes: [RunCompleted]"),
    ]
    assert file.remarks[0].words.startswith("\"run_idd == 'x'\": uses the name 'run_idd'")


def test_an_empty_file_and_a_long_line(desk: Desk) -> None:
    routes = Path(desk.environment["ROUTES_FILE"])
    routes.write_text("")
    assert [(each.words, each.line) for each in read(desk).remarks] == [("the file is empty", "")]
    routes.write_text("version: 2 #" + "x" * 1000)
    assert {len(each.line) for each in read(desk).remarks} == {200}
