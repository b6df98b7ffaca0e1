"""What all views share."""

from tests.tools.conftest import RIGHT, TRIAGE, Desk
from tests.tools.page.conftest import open_page


def test_the_installation_is_read_again_and_journal_and_queue_stay_open(desk: Desk) -> None:
    desk.settings = {"RESUME_STORAGE": "sqlite"}
    page = open_page(desk).page
    assert not page.now().has_journal
    record = desk.park()
    first = page.now()
    assert first.find_record(record.key) == record
    assert [route.name for route in first.configuration.routes.routes] == ["evaluate"]
    desk.routes(RIGHT, TRIAGE)
    second = page.now()
    assert [route.name for route in second.configuration.routes.routes] == ["evaluate", "triage"]
    assert second.store is first.store
    assert second.due_queue() is first.due_queue() is page.installation.due_queue() is not None
