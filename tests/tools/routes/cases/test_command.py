"""``manage.py test``: what it prints and writes, and its exit codes."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.support import ROOT
from tests.support.builders import run_completed
from tests.tools.conftest import Desk
from tools.events.documents import assigned, parse_assignment
from tools.events.samples import sample_event

FILE = "routes.test.yaml"
DRIFT = """name: retrain
event: DatasetDriftDetected
when: drift_coefficient >= `0.3` && data_drift_name != 'off'
cooldown: 6h
cooldown_key: '{{ data_drift_name }}'
pipeline: retraining"""


class TestDifferences:
    def test_they_are_shown_with_their_lines(self, desk: Desk) -> None:
        desk.routes(
            "name: a\nevent: RunCompleted\nwhen: experiment_name == 'train'\npipeline: p\n"
            "parameters: {runId: '{{ run_id }}'}",
            "name: b\nevent: RunCompleted\nwhen: experiment_name == 'other'\npipeline: p\n"
            "parameters: {x: '{{ data.no }}'}",
        )
        desk.file(run_completed("run-7"), "event.json")
        desk.file(
            """
cases:
  - {name: right, given: {file: event.json}, expect: {a: {pipeline: p, parameters: {runId: run-7}}}}
  - {name: less, given: {sample: RunCompleted, set: {data.experimentName: train}}, expect: {a: {}}}
  - {name: nothing, given: {sample: ModelDeployed}, expect: none, reason: no route handles}
  - {name: values, given: {file: event.json}, expect: {a: {pipeline: q, parameters: {runId: 8, y: 1}, branch: dev}}}
  - {name: more, given: {file: event.json}, expect: none}
  - {name: none, given: {sample: ModelDeployed}, expect: {a: {}}, reason: odd}
  - name: parked
    given: {sample: RunCompleted, set: {data.experimentName: other}}
    expect:
      b:
        pipeline: q
      a: {}
  - {name: both, given: {file: event.json}, expect: {a: {}}, reason: odd}
  - name: why
    given: {sample: RunCompleted, set: {data.experimentName: other}}
    expect: {b: {outcome: parked, reason: odd}}
  - {name: as parked, given: {sample: RunCompleted, set: {data.experimentName: other}}, expect: {b: parked}}
  - {name: not parked, given: {sample: RunCompleted, set: {data.experimentName: other}}, expect: none}
""",
            FILE,
        )
        result = desk.run("test")
        assert result.code == 1
        no_value = "parameter 'x': 'data.no' has no value in this event"
        assert result.out.splitlines() == [
            "ok      right",
            "ok      less",
            "ok      nothing",
            "failed  values",
            "    routes.test.yaml:6: a: pipeline is 'p', expected 'q'",
            "    routes.test.yaml:6: a: parameters: runId is 'run-7', expected 8",
            "    routes.test.yaml:6: a: parameters: y is missing, expected 1",
            "    routes.test.yaml:6: a: branch is 'main', expected 'dev'",
            "failed  more",
            "    routes.test.yaml:7: a: is not expected to match",
            "failed  none",
            "    routes.test.yaml:8: a: queues no run: no route handles ModelDeployed events",
            "    routes.test.yaml:8: the reason is not as expected: no route handles ModelDeployed events",
            "failed  parked",
            f"    routes.test.yaml:12: b: the event is parked, expected queued: {no_value}",
            "    routes.test.yaml:14: a: queues no run: when is not true: experiment_name == 'train'",
            "failed  both",
            "    routes.test.yaml:15: a route matches, so there is no reason as expected: odd",
            "failed  why",
            f"    routes.test.yaml:18: b: the reason is not as expected: {no_value}",
            "ok      as parked",
            "failed  not parked",
            f"    routes.test.yaml:20: b: is not expected to match: the event is parked: {no_value}",
            "routes.yaml:9:5: warning: b: no case matches",
            "routes.test.yaml: 11 cases, 7 failed",
        ]

    @pytest.mark.parametrize(
        ("expected", "is_right"),
        [
            ("{flag: true, number: 7, list: [1, x], object: {c: 2, a: {b: 1}}}", True),
            ("""{flag: 'True', number: '7', list: '[1, "x"]', object: '{"c": 2, "a": {"b": 1}}'}""", True),
            ("{flag: false, number: 7, list: [1, x], object: {a: {b: 1}, c: 2}}", False),
            ("{flag: 1, number: 7, list: [1, x], object: {a: {b: 1}, c: 2}}", False),
            ("{flag: true, number: 8, list: [1, x], object: {a: {b: 1}, c: 2}}", False),
            ("{flag: true, number: 7, list: [x, 1], object: {a: {b: 1}, c: 2}}", False),
            ("{flag: true, number: 7, list: [1, x], object: {a: {b: 2}, c: 2}}", False),
        ],
    )
    def test_values_are_written_as_in_a_route(self, desk: Desk, expected: str, is_right: bool) -> None:
        desk.routes(
            "name: a\nevent: RunCompleted\npipeline: 7\nvariables: {V: x}\nstages_to_skip: [one]\n"
            "parameters: {flag: True, number: 7, list: [1, x], object: {c: 2, a: {b: 1}}}"
        )
        run = f"{{a: {{pipeline: 7, parameters: {expected}, variables: {{V: x}}, stages_to_skip: [one]}}}}"
        desk.file(f"cases: [{{given: {{sample: RunCompleted}}, expect: {run}}}]", FILE)
        assert desk.run("test").code == (0 if is_right else 1)

    def test_a_date_is_written_as_in_a_route(self, desk: Desk) -> None:
        desk.routes("name: a\nevent: RunCompleted\npipeline: p\nparameters: {day: 2026-02-30}")
        run = "{a: {parameters: {day: 2026-02-30}}}"
        desk.file(f"cases: [{{given: {{sample: RunCompleted}}, expect: {run}}}]", FILE)
        assert desk.run("test").code == 0

    def test_the_file_of_an_event_is_next_to_the_cases(self, desk: Desk) -> None:
        desk.routes("name: a\nevent: RunCompleted\npipeline: p")
        desk.file(run_completed(), "folder/one.json")
        desk.file("cases: [{given: {file: one.json}, expect: {a: {}}}]", "folder/cases.yaml")
        assert desk.run("test", "folder/cases.yaml").out.endswith("cases.yaml: 1 case, 0 failed\n")

    def test_a_sample_may_be_one_of_the_files(self, desk: Desk) -> None:
        given = "{sample: run-completed-sweep-trial}"
        desk.file(f"cases: [{{given: {given}, expect: none, reason: the run is a child run}}]", FILE)
        assert desk.run("test").code == 0


class TestHistory:
    """Earlier events: the outcome follows from the app's own journal."""

    @pytest.mark.parametrize(
        ("earlier", "outcome"),
        [
            ("", "queued"),
            ("{sample: DatasetDriftDetected, ago: 5h59m59s}", "suppressed"),
            ("{sample: DatasetDriftDetected, ago: 6h}", "queued"),
            ("{sample: DatasetDriftDetected, set: {data.DataDriftName: other}, ago: 1h}", "queued"),
            ("{sample: DatasetDriftDetected, set: {data.DriftCoefficient: 0.1}, ago: 1h}", "queued"),
            # The later one of two is suppressed itself, so it does not extend the cooldown.
            ("{sample: DatasetDriftDetected, ago: 3h}, {sample: DatasetDriftDetected, ago: 7h}", "queued"),
            ("{sample: DatasetDriftDetected, set: {data.RunId: same}, ago: 30d}", "duplicate"),
            ("{file: event.json, ago: 30d}", "duplicate"),
        ],
    )
    def test_outcomes(self, desk: Desk, earlier: str, outcome: str) -> None:
        desk.routes(DRIFT)
        event = assigned(sample_event("DatasetDriftDetected"), [parse_assignment("data.RunId=same")])
        desk.file(json.dumps(event), "event.json")
        given = f"{{file: event.json, after: [{earlier}]}}"
        desk.file(f"cases: [{{given: {given}, expect: {{retrain: {outcome}}}}}]", FILE)
        assert desk.run("test").out.splitlines()[0] == "ok      1"

    def test_a_reason_may_be_expected(self, desk: Desk) -> None:
        desk.routes(DRIFT)
        given = "{sample: DatasetDriftDetected, after: [{sample: DatasetDriftDetected, ago: 1h}]}"
        run = "{retrain: {outcome: suppressed, reason: this cooldown}}"
        desk.file(f"cases: [{{given: {given}, expect: {run}}}]", FILE)
        assert desk.run("test").code == 0
        desk.file(f"cases: [{{given: {given}, expect: {{retrain: {{}}}}}}]", FILE)
        assert "retrain: the event is suppressed, expected queued: run 1 was queued within" in desk.run("test").out

    def test_a_case_does_not_affect_the_next_one(self, desk: Desk) -> None:
        desk.routes(DRIFT)
        case = "{given: {sample: DatasetDriftDetected}, expect: {retrain: queued}}"
        desk.file(f"cases: [{case}, {case}]", FILE)
        assert desk.run("test").code == 0


class TestGathering:
    """A route that gathers counts the events of a case, and the case expects the run that follows."""

    ROUTE = (
        "name: fresh\nevent: Microsoft.Storage.BlobCreated\ngather: {quiet: 10m, at_most: 25m, by: '{{ container }}'}\n"
        "pipeline: p\nparameters: {files: '{{ gathered_count }}', since: '{{ gathered_since }}', last: '{{ name }}'}"
    )
    BLOB = "sample: Microsoft.Storage.BlobCreated"
    OTHER = "set: {subject: /blobServices/default/containers/other/blobs/b.csv}"

    @pytest.mark.parametrize(
        ("ago", "files", "since"),
        [
            ([], 1, "2026-01-01T00:00:00Z"),
            (["5m", "9m"], 3, "2025-12-31T23:51:00Z"),
            (["10m"], 1, "2026-01-01T00:00:00Z"),  # it was quiet
            (["6m", "12m", "18m", "24m"], 5, "2025-12-31T23:36:00Z"),
            (["1m", "9m", "18m", "26m"], 2, "2025-12-31T23:59:00Z"),  # after 25 minutes, the next period begins
        ],
    )
    def test_the_run_is_that_of_the_open_period(self, desk: Desk, ago: list[str], files: int, since: str) -> None:
        desk.routes(self.ROUTE)
        after = ", ".join(f"{{{self.BLOB}, ago: {each}}}" for each in ago)
        parameters = f"{{files: {files}, since: '{since}', last: part-00001.parquet}}"
        run = f"{{outcome: gathered, pipeline: p, parameters: {parameters}}}"
        case = f"{{given: {{{self.BLOB}, after: [{after}]}}, expect: {{fresh: {run}}}}}"
        desk.file(f"cases: [{case}, {case}]", FILE)
        assert desk.run("test").out.splitlines() == ["ok      1", "ok      2", f"{FILE}: 2 cases, 0 failed"]

    def test_other_groups_and_repeated_deliveries_do_not_count(self, desk: Desk) -> None:
        desk.routes(self.ROUTE)
        twice = "{sample: blob-created, ago: 2m}, {sample: blob-created, ago: 3m}"
        after = f"{{{self.BLOB}, {self.OTHER}, ago: 1m}}, {twice}"
        run = "{outcome: gathered, parameters: {files: 2, since: '2025-12-31T23:57:00Z', last: part-00001.parquet}}"
        desk.file(f"cases: [{{given: {{{self.BLOB}, after: [{after}]}}, expect: {{fresh: {run}}}}}]", FILE)
        assert desk.run("test").code == 0
        given = "{sample: blob-created, after: [{sample: blob-created, ago: 1m}]}"
        desk.file(f"cases: [{{given: {given}, expect: {{fresh: duplicate}}}}]", FILE)
        assert desk.run("test").code == 0

    def test_a_gathered_event_is_not_queued_and_an_update_writes_its_run(self, desk: Desk) -> None:
        desk.routes(self.ROUTE)
        file = desk.file(f"cases:\n  - given: {{{self.BLOB}}}\n    expect: {{fresh: {{}}}}\n", FILE)
        assert "fresh: the event is gathered, expected queued: event 1 of its group; held until" in desk.run("test").out
        assert desk.run("test", "--update").code == 0
        assert "fresh: {outcome: gathered, pipeline: p, parameters: {files: '1', since: " in file.read_text()
        assert desk.run("test").code == 0


class TestCoverage:
    def test_untested_routes_and_parts_of_conditions(self, desk: Desk) -> None:
        desk.routes(
            DRIFT,
            "name: plain\nevent: ModelDeployed\npipeline: p",
            "name: off\nevent: RunCompleted\npipeline: p\nenabled: false",
            "name: runs\nevent: RunCompleted\npipeline: p\nwhen: run_id == 'a' || !(run_type == 'b')",
        )
        desk.file(
            "cases:\n- {given: {sample: DatasetDriftDetected}, expect: {retrain: {}}}\n"
            "- {given: {sample: RunCompleted}, expect: {runs: {}}}\n"
            "- {given: {sample: run-completed-sweep-trial}, expect: none}\n",
            FILE,
        )
        result = desk.run("test")
        assert (result.code, result.out.splitlines()[3:]) == (0, [
            "routes.yaml:6:11: warning: retrain: no case makes this false: drift_coefficient >= `0.3`",
            "routes.yaml:6:11: warning: retrain: no case makes this false: data_drift_name != 'off'",
            "routes.yaml:10:5: warning: plain: no case matches",
            "routes.yaml:20:11: warning: runs: no case makes this true: run_id == 'a'",
            "routes.yaml:20:11: warning: runs: no case makes this true: (run_type == 'b')",
            "routes.test.yaml: 3 cases, 0 failed",
        ])  # fmt: skip
        assert desk.run("test", "--strict").code == 1
        assert "warning" not in desk.run("test", "-k", "2").out
        assert desk.run("test", "--json").json["untested"][1:3] == [
            {"route": "retrain", "condition": "data_drift_name != 'off'", "missing": "false"},
            {"route": "plain", "condition": "", "missing": "match"},
        ]

    def test_a_part_that_is_not_reached_is_not_tested(self, desk: Desk) -> None:
        desk.routes(DRIFT.replace("&&", "||"))
        desk.file("cases: [{given: {sample: DatasetDriftDetected}, expect: {retrain: {}}}]", FILE)
        assert [line.partition(": warning: retrain: ")[2] for line in desk.run("test").out.splitlines()[1:-1]] == [
            "no case makes this false: drift_coefficient >= `0.3`",
            "no case makes this true: data_drift_name != 'off'",
            "no case makes this false: data_drift_name != 'off'",
        ]

    @pytest.mark.parametrize("sample", ["dataset-drift-detected-small", "RunCompleted"])
    def test_a_route_that_no_case_matches_is_one_warning(self, desk: Desk, sample: str) -> None:
        """The case that is missing also makes parts of the condition true."""
        desk.routes(DRIFT)
        desk.file(f"cases: [{{given: {{sample: {sample}}}, expect: none}}]", FILE)
        assert [line.partition(": warning: retrain: ")[2] for line in desk.run("test").out.splitlines()[1:-1]] == [
            "no case matches"
        ]


class TestSelection:
    def test_only_some_cases(self, desk: Desk) -> None:
        desk.file(
            "cases: [{name: The one, given: {sample: RunCompleted}, expect: none},"
            "{name: another, given: {sample: ModelDeployed}, expect: none}]",
            FILE,
        )
        assert desk.run("test", "-k", "AnoTHER").out == "ok      another\nroutes.test.yaml: 1 case, 0 failed\n"
        desk.fails(2, "the name of no case in", "test", "--only", "third")


class TestJunit:
    def test_the_results_are_written(self, desk: Desk) -> None:
        desk.routes("name: a\nevent: RunCompleted\npipeline: p")
        desk.file(
            "cases:\n- {name: fine, given: {sample: RunCompleted}, expect: {a: {}}}\n"
            '- {name: "a <b>\\e[0m & \\x00", given: {sample: RunCompleted}, expect: {a: {pipeline: q}}, reason: x}\n',
            FILE,
        )
        result = desk.run("test", "--junit-xml", "results.xml")
        assert (result.code, result.err) == (1, "wrote results.xml\n")
        (suite,) = ET.fromstring((desk.folder / "results.xml").read_text())  # noqa: S314 - the command wrote it
        assert (suite.tag, [suite.get(key) for key in ("name", "tests", "failures", "errors", "skipped")]) == (
            "testsuite",
            [FILE, "2", "1", "0", "0"],
        )
        fine, failed = suite
        assert {key: failed.get(key) for key in ("name", "classname", "file", "line")} == {
            "name": r"a <b>\u001b[0m & \u0000",
            "classname": FILE,
            "file": FILE,
            "line": "3",
        }
        assert [*fine] == []
        (failure,) = failed
        assert failure.get("message") == "a: pipeline is 'p', expected 'q'"
        assert str(failure.text).splitlines() == [
            "routes.test.yaml:3: a: pipeline is 'p', expected 'q'",
            "routes.test.yaml:3: a route matches, so there is no reason as expected: x",
        ]

    def test_a_file_that_cannot_be_written(self, desk: Desk) -> None:
        desk.file("cases: []", FILE)
        desk.fails(2, "no/results.xml cannot be written", "test", "--junit-xml", "no/results.xml")


def test_the_default_table_is_tested_completely() -> None:
    """Also where nothing is configured, as in continuous integration."""
    result = subprocess.run(
        [sys.executable, ROOT / "manage.py", "test", "--strict", "--routes", ROOT / "routes.yaml"],
        env={"PATH": str(Path(sys.executable).parent)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, ""), result.stdout
    assert "warning" not in result.stdout


def test_the_route_for_new_data_is_enabled_with_one_word(desk: Desk) -> None:
    """Nothing else needs a change, except the expectations of its cases, which the command writes."""
    for name in ("routes.yaml", FILE):
        text = (ROOT / name).read_text()
        desk.file(text.replace("enabled: false", "enabled: true"), name)
        assert text.count("enabled: false") == (name == "routes.yaml")
    shutil.copytree(ROOT / "pipelines", desk.folder / "pipelines")
    assert "warning: 'gather': needs a resume queue" in desk.run("check", "--strict").out
    desk.settings = {"RESUME_STORAGE": "sqlite"}
    assert desk.run("check", "--strict").code == 0
    assert [
        line for line in desk.run("test", "--update", "--strict").out.splitlines() if not line.startswith("ok")
    ] == [
        "updated  new data has landed",
        "updated  more new data has landed",
        f"{FILE}: 23 cases, 0 failed",
    ]
    assert desk.run("test", "--strict").code == 0
    written = (desk.folder / FILE).read_text()
    assert "newData: training-data/landing/2026-11-20\n" in written
    assert [count in written for count in ("newFiles: '1'", "newFiles: '3'")] == [True, True]
