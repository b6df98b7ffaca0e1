"""``manage.py new-route``."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from devstack.ado.declaration import DEFAULT_FILE, load_project
from devstack.processes import NO_SETTINGS
from tests.support import ROOT
from tests.support.builders import ENVIRONMENT
from tests.support.polling import LONGEST_SECONDS
from tests.tools.conftest import Desk
from tools.errors import CommandFailed
from tools.routes.new_route import condition, with_item

GOLD = ("new-route", "--event", "ModelRegistered", "--when", "model_tags.stage=gold", "--pipeline", "score")
TABLE = """\
# The table of a team.
version: 1
routes:
  - name: a          # the first
    event: RunCompleted
    pipeline: p
    organization_url: https://dev.azure.com/contoso
    project: mlops
    # the end of a

# the end of the list
defaults: {project: mlops, organization_url: 'https://dev.azure.com/contoso'}
"""


def files(desk: Desk) -> dict[str, str]:
    """Return the files of the desk, by path."""
    found = (path for path in desk.folder.rglob("*") if path.is_file())
    return {path.relative_to(desk.folder).as_posix(): path.read_text() for path in found}


def test_it_writes_the_route_its_case_and_its_pipeline(desk: Desk) -> None:
    desk.file(TABLE, "routes.yaml")
    result = desk.run(*GOLD)
    assert (result.code, result.err) == (0, "")
    assert result.out.splitlines()[1:6] == [
        "wrote pipelines/score.yml",
        "wrote routes.test.yaml",
        "wrote routes.yaml",
        "",
        "The route is score-on-model-registered. Next:",
    ]
    entry = """
  - name: score-on-model-registered
    event: ModelRegistered
    when: model_tags.stage == 'gold'
    pipeline: score
    parameters:
      modelName: "{{ model_name }}"
      modelVersion: "{{ model_version }}"
"""
    end = "    # the end of a\n"
    assert files(desk)["routes.yaml"] == TABLE.replace(end, end + entry)
    assert yaml.safe_load(files(desk)["routes.test.yaml"]) == {
        "cases": [
            {
                "name": "score-on-model-registered",
                "given": {"sample": "ModelRegistered", "set": {"data.ModelTags.stage": "gold"}},
                "expect": {
                    "score-on-model-registered": {
                        "pipeline": "score",
                        "parameters": {"modelName": "sample-model", "modelVersion": "1"},
                    }
                },
            }
        ]
    }
    (pipeline,) = [
        each
        for each in load_project(DEFAULT_FILE, desk.folder, desk.folder / "routes.yaml").pipelines
        if each.name == "score"
    ]
    assert (sorted(pipeline.parameter_by_name), pipeline.stages) == (["modelName", "modelVersion"], ("run",))
    assert desk.run("check", "--strict").code == 0
    tested = desk.run("test")
    assert (tested.code, tested.out.splitlines()) == (0, [
        "ok      score-on-model-registered",
        "routes.yaml:4:5: warning: a: no case matches",
        "routes.yaml:13:11: warning: score-on-model-registered: no case makes this false: model_tags.stage == 'gold'",
        "routes.test.yaml: 1 case, 0 failed",
    ])  # fmt: skip
    sent = next(line for line in result.out.splitlines() if " send " in line)
    assert sent == "  ./manage.py send ModelRegistered --set data.ModelTags.stage=gold --wait"


def test_a_second_route_is_added_to_what_exists(desk: Desk) -> None:
    desk.run(*GOLD)
    desk.file("# mine\nparameters: [{name: runId}]\nsteps: []\n", "pipelines/report.yaml")
    assert desk.run("new-route", "--event", "RunCompleted", "--pipeline", r"\team\report").code == 0
    assert "pipelines/report.yml" not in files(desk)
    assert "pipeline: \\team\\report\n    parameters:\n      runId: " in files(desk)["routes.yaml"]
    tested = desk.run("test", "--json").json
    assert [(case["name"], case["ok"]) for case in tested["cases"]] == [
        ("score-on-model-registered", True),
        ("report-on-run-completed", True),
    ]


def test_an_object_and_a_list_are_parameters_of_the_type_object(desk: Desk) -> None:
    made = ["-p", "run_id", "-p", """config={"a": {"run": "of {{ run_id }}", "n": 3}}""", "-p", "regions=[]"]
    assert desk.run("new-route", "--event", "RunCompleted", "--pipeline", "report", *made).code == 0
    assert files(desk)["routes.yaml"].endswith(
        """    parameters:
      runId: "{{ run_id }}"
      config: {"a": {"run": "of {{ run_id }}", "n": 3}}
      regions: []
"""
    )
    parameters = yaml.safe_load(files(desk)["pipelines/report.yml"])["parameters"]
    assert [each["type"] for each in parameters] == ["string", "object", "object"]
    environment = files(desk)["pipelines/report.yml"].partition("            env:\n")[2]
    assert environment == (
        "              VALUE_runId: ${{ parameters.runId }}\n"
        "              VALUE_config: ${{ convertToJson(parameters.config) }}\n"
        "              VALUE_regions: ${{ convertToJson(parameters.regions) }}\n"
    )
    assert desk.run("check", "--strict").code == 0
    assert desk.run("test").code == 0


def test_a_new_pipeline_shows_all_lines_of_its_values(desk: Desk) -> None:
    """``convertToJson`` writes several."""
    made = ["-p", "run_id", "-p", "config={}"]
    assert desk.run("new-route", "--event", "RunCompleted", "--pipeline", "report", *made).code == 0
    job = yaml.safe_load(files(desk)["pipelines/report.yml"])["stages"][0]["jobs"][0]
    environment = {**os.environ, "VALUE_runId": "run-1", "VALUE_config": '{\n  "n": 3\n}'}
    script = ["/bin/bash", "-c", job["steps"][-1]["bash"]]
    shown = subprocess.run(script, env=environment, capture_output=True, text=True, check=True)
    assert shown.stdout == 'VALUE_config={\n  "n": 3\n}\nVALUE_runId=run-1\n'


def test_text_that_is_not_unicode_is_refused(desk: Desk) -> None:
    """The shell passes bytes that are not UTF-8 as halves of surrogate pairs."""
    before = files(desk)
    for arguments in (["--when", "model_name=\udcff"], ["-p", 'x={"a": "\\ud800"}']):
        told = desk.run("new-route", "--event", "ModelRegistered", "--pipeline", "score", *arguments)
        assert (told.code, told.out) == (2, "")
        assert "is not Unicode text" in told.err
    assert files(desk) == before


def test_a_required_object_is_shown_as_it_is_written(desk: Desk) -> None:
    desk.file("parameters: [{name: config, type: object}]\nsteps: []\n", "pipelines/report.yaml")
    told = desk.run("new-route", "--event", "RunCompleted", "--pipeline", "report")
    assert told.code == 2
    assert """set it under 'parameters', such as config: {"id": "{{ … }}"}, or declare""" in told.err


def test_a_dry_run_only_shows_the_files(desk: Desk) -> None:
    before = files(desk)
    result = desk.run(*GOLD, "--dry-run", "-p", "-", "--name", "mine")
    assert result.code == 0
    assert [line for line in result.out.splitlines() if line.startswith("--- ")] == [
        "--- pipelines/score.yml",
        "--- routes.test.yaml",
        "--- routes.yaml",
    ]
    assert "  - name: mine\n    event: ModelRegistered\n" in result.out
    assert files(desk) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("new-route",), "--event is missing, and there is no terminal to ask on; see --help"),
        (("new-route", "--event", "RunComplete"), "'RunComplete' is not an event type; did you mean 'RunCompleted'?"),
        (("new-route", "--event", "RunCompleted"), "--pipeline is missing"),
        ((*GOLD, "--pipeline", "7"), "'7' cannot be the name of a pipeline"),
        ((*GOLD, "--pipeline", "../x"), "'../x' cannot be the name of a pipeline"),
        ((*GOLD, "--when", "model_nam=x"), "uses the name 'model_nam', which does not exist here; did you mean"),
        ((*GOLD, "--when", "model_name =="), "'model_name ==' "),
        ((*GOLD, "-p", "a b"), "'a b' is neither a name such as run_id nor NAME=VALUE"),
        ((*GOLD, "-p", "x={{ model_nam }}"), "uses the name 'model_nam'"),
        ((*GOLD, "-p", "x=model_name"), "'model_name' is literal text, not a value of the event; did you mean {{"),
        ((*GOLD, "-p", "x={run: model_name}"), "'{run: model_name}' is not JSON: Expecting property name"),
        ((*GOLD, "-p", 'x={"auc": NaN}'), """'{"auc": NaN}' is not JSON: """),
        ((*GOLD, "-p", "x=[1e999]"), "'[1e999]' is not JSON: "),
        ((*GOLD, "-p", "a=1", "-p", "A=2"), "the parameter 'A' is given twice"),
        ((*GOLD, "--name", "evaluate"), "there is already a route 'evaluate'; choose another name with --name"),
        ((*GOLD, "--name", "-x"), "'-x' cannot be the name of a route"),
        (
            (*GOLD, "--when", "length(keys(model_tags)) == `9`"),
            "no event is found that the route matches, so nothing was",
        ),
    ],
)
def test_nothing_is_written_if_an_answer_is_wrong(desk: Desk, arguments: tuple[str, ...], message: str) -> None:
    before = files(desk)
    desk.fails(2, message, *arguments)
    assert files(desk) == before


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("routes.yaml", "version: 1\nroutes: 7\n", "routes.yaml has 1 error; run './manage.py check' and correct it"),
        ("routes.test.yaml", "cases: 7\n", "routes.test.yaml: the file has no list 'cases'"),
        ("routes.test.yaml", "cases: [{name: a}]\n", "routes.test.yaml: the list 'cases' is written in brackets"),
        ("routes.test.yaml", "a: [\n", "routes.test.yaml: the file is not YAML: "),
        ("pipelines/score.yml", "parameters: [{name: other}]\n", "the route is wrong, so nothing was written"),
    ],
)
def test_nothing_is_written_if_a_file_is_wrong(desk: Desk, file: str, text: str, message: str) -> None:
    desk.file(text, file)
    before = files(desk)
    result = desk.run(*GOLD, "-p", "model_name")
    assert (result.code, result.out) == (2, "")
    assert message in result.err
    assert files(desk) == before


def test_what_was_written_is_restored_if_a_file_cannot_be_written(desk: Desk) -> None:
    (desk.folder / "pipelines").mkdir()
    (desk.folder / "routes.test.yaml").symlink_to(desk.folder / "nowhere" / "routes.test.yaml")
    desk.fails(2, "cannot be written (No such file or directory); nothing was changed", *GOLD)
    assert set(files(desk)) == {"routes.yaml"}
    assert "score" not in files(desk)["routes.yaml"]


def as_one_line(text: str) -> str:
    return " ".join(text.split())


def test_on_a_terminal_it_asks_until_the_answers_are_right(desk: Desk) -> None:
    leader, follower = pty.openpty()
    process = desk.start("new-route", stdin=follower, stdout=follower, stderr=follower)
    os.close(follower)
    shown = ""
    for question, answer in [
        ("1. Which event?", "9"),
        ("is not an event type", "3"),
        ("2. Which ModelRegistered events?", "model_nam=x"),
        ("did you mean 'model_name'?", "model_tags.stage=gold && model_name=fraud"),
        ("3. Which pipeline", "score"),
        ("4. Which values", ""),
    ]:
        while not re.search(re.escape(question) + r"[^>]*>( \[[^]]*\])?$", as_one_line(shown)):
            assert select.select([leader], [], [], LONGEST_SECONDS)[0], shown
            shown += os.read(leader, 4096).decode()
        assert max(map(len, shown.splitlines())) <= 80
        shown = ""
        os.write(leader, answer.encode() + b"\n")
    assert process.wait(60) == 0
    os.close(leader)
    assert "model_tags.stage == 'gold' && model_name == 'fraud'" in files(desk)["routes.yaml"]


@pytest.mark.parametrize("way", ["Ctrl-C", "Ctrl-D"])
def test_after_an_interruption_it_says_that_nothing_was_written(desk: Desk, way: str) -> None:
    before = files(desk)
    leader, follower = pty.openpty()
    process = desk.start("new-route", stdin=follower, stdout=follower, stderr=follower)
    os.close(follower)
    shown = ""
    while not shown.endswith("> "):
        assert select.select([leader], [], [], LONGEST_SECONDS)[0], shown
        shown += os.read(leader, 4096).decode()
    if way == "Ctrl-C":
        process.send_signal(signal.SIGINT)
    else:
        os.write(leader, b"\x04")
    assert process.wait(60) == 130
    assert os.read(leader, 4096).decode().splitlines() == ["", "manage.py: interrupted; nothing was written"]
    os.close(leader)
    assert files(desk) == before


@pytest.mark.parametrize(
    ("answer", "event", "expected"),
    [
        ("experiment_name=churn", "RunCompleted", "experiment_name == 'churn'"),
        (" experiment_name = 'churn' ", "RunCompleted", "experiment_name == 'churn'"),
        ("run_tags.note=it's", "RunCompleted", r"run_tags.note == 'it\'s'"),
        ("drift_coefficient=0.5", "DatasetDriftDetected", "drift_coefficient == `0.5`"),
        ("monitor_threshold_breached=true", "RunStatusChanged", "monitor_threshold_breached == `true`"),
        ("run_id == 'a' && run_type=b", "RunCompleted", "run_id == 'a' && run_type == 'b'"),
        ("drift_coefficient >= `0.3`", "DatasetDriftDetected", "drift_coefficient >= `0.3`"),
        ("run_id == 'a&&b'", "RunCompleted", "run_id == 'a&&b'"),
        ("", "RunCompleted", ""),
    ],
)
def test_a_condition_by_example(answer: str, event: str, expected: str) -> None:
    assert condition(answer, event) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cases: []\n", "cases:\n  - x: 1\n    y: 2\n"),
        ("cases: [ ]   # none\nother: 1", "cases:   # none\n  - x: 1\n    y: 2\nother: 1\n"),
        ("cases:\n- a: 1", "cases:\n- a: 1\n\n- x: 1\n  y: 2\n"),
        (
            "cases:\n  - a: |\n      text\n\n\nother: 1\n",
            "cases:\n  - a: |\n      text\n\n  - x: 1\n    y: 2\n\n\nother: 1\n",
        ),
        (
            "cases:\n  - a: 1\n    # of a\n  # of none\n",
            "cases:\n  - a: 1\n    # of a\n\n  - x: 1\n    y: 2\n  # of none\n",
        ),
    ],
)
def test_an_item_is_added_and_the_rest_stays_as_it_is(text: str, expected: str) -> None:
    assert with_item(text, "cases", ["x: 1", "y: 2"]) == expected


def test_a_text_without_the_list_is_refused() -> None:
    with pytest.raises(CommandFailed, match="the file has no list 'cases'"):
        with_item("- x\n", "cases", ["y: 1"])


def test_the_default_table_and_every_event_type_get_a_route(tmp_path: Path) -> None:
    """The new file is the old one with one block more."""
    original = (ROOT / "routes.yaml").read_text()
    (tmp_path / "routes.yaml").write_text(original)
    for event in ("RunCompleted", "DatasetDriftDetected"):
        before = (tmp_path / "routes.yaml").read_text()
        subprocess.run(
            [sys.executable, ROOT / "manage.py", "new-route", "--event", event, "--pipeline", "score"],
            env={**os.environ, **NO_SETTINGS, **ENVIRONMENT, "ROUTES_FILE": str(tmp_path / "routes.yaml")},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
        )
        assert (tmp_path / "routes.yaml").read_text().startswith(before)
