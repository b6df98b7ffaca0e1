"""The page of ``make demo PAGE=1`` runs until a signal ends the demo, and not longer."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from shared.journal.sqlite import SqliteStore
from tests.support import ROOT

DEMO = """
import sys
from devstack.demo.page import show_page
from devstack.demo.program import ROOT, end_in_order
end_in_order()
sys.exit(show_page(ROOT, {"JOURNAL_CONNECTION": sys.argv[1]}, "--no-browser"))
"""


@pytest.mark.parametrize(
    ("number", "whole_group"),
    [(signal.SIGINT, True), (signal.SIGTERM, False), (signal.SIGHUP, True)],
    ids=["Ctrl-C", "terminated", "terminal closed"],
)
def test_the_page_is_shown_until_the_demo_is_ended(tmp_path: Path, number: signal.Signals, whole_group: bool) -> None:
    SqliteStore(tmp_path / "journal.sqlite3")
    with subprocess.Popen(
        [sys.executable, "-c", DEMO, f"sqlite:{tmp_path / 'journal.sqlite3'}"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as demo:
        assert demo.stdout is not None
        url = demo.stdout.readline().removeprefix("the page is at ").strip()
        assert requests.get(url, timeout=60).ok
        (os.killpg if whole_group else os.kill)(demo.pid, number)
        try:
            assert (demo.wait(60), demo.stdout.read()) == (0, "")
        finally:
            demo.terminate()  # with nohup, SIGHUP has no effect, and this test fails
    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=60)
