"""local.settings.json, host.json, and the size of the thread pool."""

import json
from pathlib import Path

import pytest

from devstack.host import local_settings
from devstack.host.errors import InvalidSettingsFile
from devstack.host.host_json import HostSettings, QueueSettings, read_host_settings
from devstack.host.worker import DEFAULT_THREAD_COUNT, THREAD_COUNT_SETTING, thread_count
from tests.support import ROOT


def write(directory: Path, name: str, content: object) -> Path:
    text = content if isinstance(content, str) else json.dumps(content)
    (directory / name).write_text(text, encoding="utf-8")
    return directory


@pytest.mark.parametrize(
    ("content", "values"),
    [
        (None, {}),
        ("{}", {}),
        ({"IsEncrypted": False, "Values": {"A": "1", "B": "two"}, "Host": {}}, {"A": "1", "B": "two"}),
        ('\ufeff{"Values": {"A": "ä"}}', {"A": "ä"}),  # with a byte order mark
    ],
)
def test_values_are_added_to_the_environment_unless_already_set(
    tmp_path: Path, content: object, values: dict[str, str]
) -> None:
    if content is not None:
        write(tmp_path, "local.settings.json", content)
    environ: dict[str, str] = {}
    assert local_settings.apply(tmp_path, environ) == []
    assert environ == values

    environ = {"A": ""}
    assert local_settings.apply(tmp_path, environ) == [name for name in values if name == "A"]
    assert environ == values | {"A": ""}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"Values": {"A": "canary-1",}', "not JSON: "),
        ('{"Values": {"A": "canary-1" "B": ""}}', "at line 1 column 29"),
        (["canary-1"], "must contain a JSON object"),
        ({"IsEncrypted": True, "Values": {"A": "canary-1"}}, "is encrypted (IsEncrypted is true)"),
        ({"Values": ["canary-1"]}, '"Values" must be an object'),
        ({"Values": {"A": "canary-1", "B": 7, "C": True}}, "must be strings (in quotes): B, C"),
    ],
)
def test_an_invalid_file_is_reported_in_one_line_without_values(tmp_path: Path, content: object, message: str) -> None:
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


@pytest.mark.parametrize(
    ("content", "seconds", "prefix"),
    [
        (None, 1800.0, "api"),
        ({"version": "2.0"}, 1800.0, "api"),
        ({"functionTimeout": "00:05:00"}, 300.0, "api"),
        ({"functionTimeout": "01:02:03"}, 3723.0, "api"),
        ({"functionTimeout": "1.00:00:01"}, 86401.0, "api"),
        ({"functionTimeout": "-1"}, None, "api"),
        ({"extensions": {"http": {"routePrefix": ""}}}, 1800.0, ""),
        ({"extensions": {"http": {"routePrefix": "/v1/"}}}, 1800.0, "v1"),
        ({"extensions": {"http": {"routePrefix": "a/b"}}}, 1800.0, "a/b"),
    ],
)
def test_host_json(tmp_path: Path, content: object, seconds: float | None, prefix: str) -> None:
    if content is not None:
        write(tmp_path, "host.json", content)
    assert read_host_settings(tmp_path) == HostSettings(function_timeout_seconds=seconds, route_prefix=prefix)


@pytest.mark.parametrize(
    ("queues", "read"),
    [
        ({}, QueueSettings()),
        ({"messageEncoding": "base64", "newBatchSize": 8}, QueueSettings()),
        (
            {"messageEncoding": "none", "maxPollingInterval": "00:00:05", "visibilityTimeout": "00:00:10"},
            QueueSettings(is_base64=False, max_polling_seconds=5.0, visibility_seconds=10.0),
        ),
        ({"batchSize": 4, "maxDequeueCount": 3}, QueueSettings(batch_size=4, max_dequeue_count=3)),
    ],
)
def test_queues_in_host_json(tmp_path: Path, queues: object, read: QueueSettings) -> None:
    write(tmp_path, "host.json", {"extensions": {"queues": queues}})
    assert read_host_settings(tmp_path).queues == read


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"functionTimeout": "5 minutes"}, "functionTimeout must be"),
        ({"functionTimeout": 300}, "functionTimeout must be"),
        ({"functionTimeout": "00:00:00"}, "longer than 0 seconds"),
        ({"extensions": []}, "extensions must be an object"),
        ({"extensions": {"http": {"routePrefix": None}}}, "routePrefix must be a string"),
        ({"extensions": {"queues": 1}}, "queues must be an object"),
        ({"extensions": {"queues": {"messageEncoding": "utf-8"}}}, 'messageEncoding must be "base64" or "none"'),
        ({"extensions": {"queues": {"maxPollingInterval": 5}}}, "maxPollingInterval must be"),
        ({"extensions": {"queues": {"batchSize": 0}}}, "batchSize must be a whole number"),
        ({"extensions": {"queues": {"maxDequeueCount": True}}}, "maxDequeueCount must be a whole number"),
        ("[", "host.json is not JSON"),
        ("[" * 100_000, "host.json is nested too deeply"),
    ],
)
def test_an_invalid_host_json_is_refused(tmp_path: Path, content: object, message: str) -> None:
    write(tmp_path, "host.json", content)
    with pytest.raises(InvalidSettingsFile, match=message):
        read_host_settings(tmp_path)


@pytest.mark.parametrize("text", ["0", "-3", "many", "", "1.5", "3", None])
def test_an_invalid_thread_count_is_logged_and_the_default_used(
    text: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    default = 1000  # measured
    warning = f"PYTHON_THREADPOOL_THREAD_COUNT must be a whole number of at least 1; using {default}"
    environment = {} if text is None else {"PYTHON_THREADPOOL_THREAD_COUNT": text}
    assert thread_count(environment) == (3 if text == "3" else default)
    assert caplog.messages == ([] if text in {"3", None} else [warning])


def test_the_number_of_threads_that_the_host_sets_is_documented() -> None:
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    (row,) = [line for line in page.splitlines() if THREAD_COUNT_SETTING in line]
    assert f"the Functions host sets {DEFAULT_THREAD_COUNT}" in row
