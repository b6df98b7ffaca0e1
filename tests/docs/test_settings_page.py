"""docs/settings.md is generated from the table of settings, and other files name only settings in this table."""

import json
import re

from shared.settings import SETTINGS
from tests.support import ROOT
from tools.settings_docs import PAGE, settings_page

NAMES = {one.name for one in SETTINGS}
HOST_SETTINGS = {"FUNCTIONS_WORKER_RUNTIME", "AzureWebJobsStorage", "PYTHON_ISOLATE_WORKER_DEPENDENCIES"}


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == settings_page(), "run 'make docs'"
    assert sorted(re.findall(r"^\| `(\w+)` \|", PAGE.read_text(), re.MULTILINE)) == sorted(NAMES)


def test_the_routes_and_the_sample_use_known_settings() -> None:
    assert set(re.findall(r"\$\{(\w+)\}", (ROOT / "routes.yaml").read_text())) <= NAMES
    sample = json.loads((ROOT / "local.settings.sample.json").read_text())["Values"]
    assert set(sample) <= NAMES | HOST_SETTINGS
    assert all(isinstance(value, str) for value in sample.values())


def test_the_documents_name_known_settings() -> None:
    documents = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    ours = r"\b(?:JOURNAL|DELIVERY|NOTIFY|RESUME|WAIT)_[A-Z_]+\b"
    named = {name: path.name for path in documents for name in re.findall(ours, path.read_text())}
    assert {name: document for name, document in named.items() if name not in NAMES} == {}
