"""The files that follow from the event types are as ``make docs`` writes them."""

from tests.support import ROOT
from tools.event_files import event_files


def test_the_files_are_those_that_the_event_types_give() -> None:
    files = event_files()
    different = [file for file, text in files.items() if (ROOT / file).read_text(encoding="utf-8") != text]
    assert not different, "run 'make docs'"


def test_there_is_no_other_sample() -> None:
    samples = {path.relative_to(ROOT).as_posix() for path in (ROOT / "devstack" / "events").glob("*.json")}
    assert samples == {file for file in event_files() if file.startswith("devstack/events/")}
