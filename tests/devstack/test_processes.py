"""Programs that are started as processes of their own."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import requests

from devstack.processes import NO_SETTINGS, start_app
from shared.settings import SETTINGS, load_settings

FUNCTION_APP = """
import json, os
import azure.functions as func

NAMES = ("RESUME_STORAGE", "ROUTES_FILE", "NOTIFY_TOPIC_KEY", "OTHER")
app = func.FunctionApp()


@app.route("seen", auth_level=func.AuthLevel.ANONYMOUS)
def seen(req):
    return json.dumps({name: os.environ.get(name) for name in NAMES})
"""


def test_the_app_has_only_the_settings_that_it_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "function_app.py").write_text(FUNCTION_APP)
    (tmp_path / "host.json").write_text('{"version": "2.0"}')
    values = {"RESUME_STORAGE": "sqlite", "ROUTES_FILE": "mine.yaml", "OTHER": "kept"}
    (tmp_path / "local.settings.json").write_text(json.dumps({"Values": values}))
    monkeypatch.setenv("NOTIFY_TOPIC_KEY", "of the shell")
    given = {"ROUTES_FILE": "given.yaml"}
    with start_app("--no-reload", env=given, cwd=tmp_path, log=tmp_path / "host.log", app_dir=tmp_path) as host:
        seen = requests.get(f"{host.url}/api/seen", timeout=60).json()
    assert seen == {"RESUME_STORAGE": "", "ROUTES_FILE": "given.yaml", "NOTIFY_TOPIC_KEY": "", "OTHER": "kept"}


def test_an_empty_setting_is_not_set(tmp_path: Path) -> None:
    wanted = {"AZURE_DEVOPS_ORG_URL": "https://dev.azure.com/contoso"}
    assert {one.name for one in SETTINGS} - set(NO_SETTINGS) == {"PYTHON_THREADPOOL_THREAD_COUNT"}
    with_empty, without = (load_settings({**some, **wanted}, tmp_path) for some in (NO_SETTINGS, {}))
    assert replace(with_empty, environment={}) == replace(without, environment={})
