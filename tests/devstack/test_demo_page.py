"""The page of ``make demo PAGE=1`` runs until Ctrl-C, in the terminal or of the demo alone."""

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
import signal, sys
from devstack.demo.page import show_page
from devstack.demo.program import ROOT, _interrupt
signal.signal(signal.SIGINT, _interrupt)
sys.exit(show_page(ROOT, {"JOURNAL_CONNECTION": sys.argv[1]}, "--no-browser"))
"""


@pytest.mark.parametrize("whole_group", [True, False], ids=["terminal", "process"])
def test_the_page_is_shown_until_ctrl_c(tmp_path: Path, whole_group: bool) -> None:
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
        (os.killpg if whole_group else os.kill)(demo.pid, signal.SIGINT)
        assert (demo.stdout.read(), demo.wait(60)) == ("", 0)
    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=60)
