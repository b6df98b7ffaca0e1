"""A small soak test succeeds, with faults and killed hosts."""

import subprocess
import sys

from devstack.azurite import installation_problem
from tests.support import ROOT
from tests.support.prerequisites import need


def test_a_small_soak_neither_loses_nor_duplicates_runs() -> None:
    need(installation_problem())
    result = subprocess.run(
        [sys.executable, "-m", "devstack.soak", "--events", "200", "--minutes", "0.2"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert (result.returncode, result.stderr) == (0, "")
    lines = [line.split() for line in result.stdout.splitlines() if line.strip()]
    assert " ".join(lines[-1]) == "soak: 200 events, 200 pipeline runs queued, 0 lost, 0 duplicated"
    figures = {" ".join(words[:-1]): words[-1] for words in lines if words[-1].isdigit()}
    assert int(figures["hosts killed"]) >= 1
    assert int(figures["faults"]) >= 10
    assert int(figures["deliveries"]) > int(figures["answered 202"]) > 200
