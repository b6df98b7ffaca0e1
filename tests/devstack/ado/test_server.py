"""The emulator, served on a port."""

from __future__ import annotations

import requests

from devstack.ado.emulator import Emulator
from devstack.ado.server import serve
from tests.support.services.emulator import DECLARATION, PAT, PLAIN_RUN, RUNS, basic


def test_an_emulator_can_be_served_again() -> None:
    emulator = Emulator(DECLARATION, pats={PAT})
    activities = []
    for expected in (501, 502):
        with serve(emulator) as served:
            assert served.organization_url == f"{served.url}/contoso"
            url = f"{served.url}{RUNS}?api-version=7.1"
            answer = requests.post(url, json=PLAIN_RUN, headers=basic(PAT), timeout=10)
        assert answer.json()["id"] == expected
        activities.append(answer.headers["ActivityId"])

    assert len(set(activities)) == 2
    assert all(len(activity) == 36 for activity in activities)
