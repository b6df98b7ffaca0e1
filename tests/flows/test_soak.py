"""The soak test with few events: the storm, and each story."""

import subprocess
import sys
from pathlib import Path

import pytest

from devstack.azurite import installation_problem
from devstack.soak.stories import STORIES
from devstack.soak.stories.stage import StoreName
from devstack.soak.stories.story import HONORED_FIRST, Story
from tests.support import ROOT
from tests.support.effort import LONG, amount
from tests.support.prerequisites import need

STORES: list[StoreName] = ["sqlite", "azurite"]


def is_usual(story: Story, store: StoreName) -> bool:
    """Return whether a story is played on a store in the usual tests."""
    return not story.is_long and store == "sqlite"


def test_a_small_storm_neither_loses_nor_duplicates_runs() -> None:
    need(installation_problem())
    result = subprocess.run(
        [sys.executable, "-m", "devstack.soak", "--story", "storm", "--events", "200", "--minutes", "0.2"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert (result.returncode, result.stderr) == (0, "")
    first, second, rest = result.stdout.split("duplicated\n")
    assert rest == ""
    for way, output in zip(HONORED_FIRST, (first, second), strict=True):
        lines = [" ".join(line.split()) for line in output.splitlines() if line.strip()]
        assert lines[-1] == f"storm, idempotency {way}: 100 events, 100 pipeline runs queued, 0 lost, 0"
        figures = {
            name: int(figure) for name, _, figure in (line.rpartition(" ") for line in lines) if figure.isdigit()
        }
        assert figures["hosts killed"] >= 1
        assert figures["faults"] >= 5
        assert figures["deliveries"] > figures["answered 202"] > 100


@pytest.mark.parametrize(
    ("story", "store"),
    [(story, store) for story in STORIES for store in STORES if LONG or is_usual(story, store)],
    ids=lambda value: value.name if isinstance(value, Story) else value,
)
def test_a_story_ends_with_one_run_for_each_event(story: Story, store: StoreName, tmp_path: Path) -> None:
    if store == "azurite":
        need(installation_problem())
    # A full outage with other tests is too much for the storage emulator. 'make soak' plays one after the other.
    long_size = 0.25 if story.resumes and store == "azurite" else 1
    played = list(story.run(tmp_path, store, size=amount(0.25, long_size)))
    assert [(way, str(outcome)) for way, outcome, is_good in played if not is_good] == []
    assert [way for way, _, _ in played] == list(story.ways)
