"""local.settings.json, host.json, and the size of the thread pool."""

import json
import os
from pathlib import Path

import pytest

from devstack.host import local_settings
from devstack.host.errors import InvalidSettingsFile
from devstack.host.host_json import HostSettings, read_host_settings
from devstack.host.worker import thread_count


def write(directory: Path, name: str, content: object) -> Path:
    text = content if isinstance(content, str) else json.dumps(content)
    (directory / name).write_text(text, encoding="utf-8")
    return directory


def test_values_enter_the_environment(tmp_path: Path) -> None:
    write(tmp_path, "local.settings.json", {"IsEncrypted": False, "Values": {"A": "1", "B": "two"}, "Host": {}})
    environ: dict[str, str] = {}

    assert local_settings.apply(tmp_path, environ) == []
    assert environ == {"A": "1", "B": "two"}


def test_what_is_set_already_wins_and_is_named(tmp_path: Path) -> None:
    write(tmp_path, "local.settings.json", {"Values": {"A": "file", "B": "file", "C": "file"}})
    environ = {"A": "shell", "C": ""}

    assert local_settings.apply(tmp_path, environ) == ["A", "C"]
    assert environ == {"A": "shell", "B": "file", "C": ""}


def test_no_file_and_no_values_are_fine(tmp_path: Path) -> None:
    assert local_settings.read_values(tmp_path) == {}
    write(tmp_path, "local.settings.json", "{}")
    assert local_settings.read_values(tmp_path) == {}


def test_a_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    write(tmp_path, "local.settings.json", '\ufeff{"Values": {"A": "ä"}}')
    assert local_settings.read_values(tmp_path) == {"A": "ä"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"Values": {"A": "canary-1",}', "not JSON: "),
        ('{"Values": {"A": "canary-1" "B": ""}}', "at line 1 column 29"),
        (["canary-1"], "must hold a JSON object"),
        ({"IsEncrypted": True, "Values": {"A": "canary-1"}}, "is encrypted (IsEncrypted is true)"),
        ({"Values": ["canary-1"]}, '"Values" must be an object'),
        ({"Values": {"A": "canary-1", "B": 7, "C": True}}, "must be strings (in quotes): B, C"),
    ],
)
def test_a_broken_file_is_one_line_without_values(tmp_path: Path, content: object, message: str) -> None:
    write(tmp_path, "local.settings.json", content)
    environ: dict[str, str] = {}

    with pytest.raises(InvalidSettingsFile) as caught:
        local_settings.apply(tmp_path, environ)

    assert message in str(caught.value)
    assert str(caught.value).startswith("local.settings.json")
    assert "canary" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert environ == {}


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "local.settings.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidSettingsFile, match="cannot be read: UnicodeDecodeError"):
        local_settings.read_values(tmp_path)


def test_host_json_defaults(tmp_path: Path) -> None:
    assert read_host_settings(tmp_path) == HostSettings(function_timeout_seconds=1800.0, route_prefix="api")
    write(tmp_path, "host.json", {"version": "2.0"})
    assert read_host_settings(tmp_path) == HostSettings(function_timeout_seconds=1800.0, route_prefix="api")


@pytest.mark.parametrize(
    ("timeout", "seconds"),
    [("00:05:00", 300.0), ("01:02:03", 3723.0), ("1.00:00:01", 86401.0), ("-1", None)],
)
def test_function_timeout_is_a_timespan(tmp_path: Path, timeout: str, seconds: float | None) -> None:
    write(tmp_path, "host.json", {"functionTimeout": timeout})
    assert read_host_settings(tmp_path).function_timeout_seconds == seconds


@pytest.mark.parametrize(("prefix", "expected"), [("", ""), ("/v1/", "v1"), ("a/b", "a/b")])
def test_route_prefix(tmp_path: Path, prefix: str, expected: str) -> None:
    write(tmp_path, "host.json", {"extensions": {"http": {"routePrefix": prefix}}})
    assert read_host_settings(tmp_path).route_prefix == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"functionTimeout": "5 minutes"}, "functionTimeout must be"),
        ({"functionTimeout": 300}, "functionTimeout must be"),
        ({"functionTimeout": "00:00:00"}, "longer than nothing"),
        ({"extensions": []}, "extensions must be an object"),
        ({"extensions": {"http": {"routePrefix": None}}}, "routePrefix must be a text"),
        ("[", "host.json is not JSON"),
    ],
)
def test_a_broken_host_json_is_refused(tmp_path: Path, content: object, message: str) -> None:
    write(tmp_path, "host.json", content)
    with pytest.raises(InvalidSettingsFile, match=message):
        read_host_settings(tmp_path)


@pytest.mark.parametrize("text", ["0", "-3", "many", "", "1.5"])
def test_an_unusable_thread_count_is_said_and_the_default_taken(text: str, caplog: pytest.LogCaptureFixture) -> None:
    default = min(32, (os.cpu_count() or 1) + 4)

    assert thread_count({"PYTHON_THREADPOOL_THREAD_COUNT": text}) == default
    assert caplog.messages == [f"PYTHON_THREADPOOL_THREAD_COUNT must be a whole number from 1; taking {default}"]


def test_thread_count() -> None:
    assert thread_count({"PYTHON_THREADPOOL_THREAD_COUNT": "3"}) == 3
    assert thread_count({}) == min(32, (os.cpu_count() or 1) + 4)
