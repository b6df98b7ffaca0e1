"""The run id in an MLmodel file, for different places and contents of the file."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from components.trigger_pipeline.model_file import NoTrainingRun, training_run

# As MLflow writes it, with several flavors; the keys are sorted, so run_id comes late.
COMPLETE = """\
artifact_path: model
flavors:
  python_function:
    data: model.pkl
    env: {conda: conda.yaml, virtualenv: python_env.yaml}
    loader_module: mlflow.sklearn
    run_id: not-this-one
  sklearn:
    code: null
    pickled_model: model.pkl
    run_id: nor-this-one
metadata:
  run_id: nor-that-one
mlflow_version: 2.22.5
model_uuid: af455fbd23ad4140b00ceae91e202656
run_id: brave_fig_7k2m
signature:
  inputs: '[{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 64]}}]'
utc_time_created: '2026-11-22 18:48:10.945464'
"""


def write(folder: Path, text: str | bytes, below: str = "") -> None:
    file = folder / below / "MLmodel"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text if isinstance(text, bytes) else text.encode())


@pytest.mark.parametrize(
    ("text", "run_id"),
    [
        (COMPLETE, "brave_fig_7k2m"),
        ('run_id: "quoted"', "quoted"),
        ("{run_id: inline}", "inline"),
        ("run_id: 12345678901234567890123456789012", "12345678901234567890123456789012"),
        ("run_id: 123e4567", "123e4567"),
        ("run_id: no", "no"),
        ("run_id: a # a comment", "a"),
        ("run_id:\n  folded", "folded"),
        ("run_id: a\nx: !!python/object/apply:os.system ['false']\n", "a"),
    ],
)
def test_the_file_names_the_run(tmp_path: Path, text: str, run_id: str) -> None:
    write(tmp_path, text)
    assert training_run(tmp_path) == run_id


NO_RUN_ID = r"does not contain a run_id; log the model within a run"
CANNOT_BE_READ = r"MLmodel cannot be read: .+; save the model with MLflow"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", NO_RUN_ID),
        ("flavors: {sklearn: {run_id: nested}}", NO_RUN_ID),
        ("# run_id: in-a-comment", NO_RUN_ID),
        ("signature: 'run_id: in-a-string'", NO_RUN_ID),
        ("run_id:", NO_RUN_ID),
        ("run_id: null", NO_RUN_ID),
        ("run_id: ''", NO_RUN_ID),
        ("run_id: {a: mapping}", NO_RUN_ID),
        ("[run_id, a]", NO_RUN_ID),
        ("run_id: 'open", CANNOT_BE_READ),
        (b"run_id: \xff", CANNOT_BE_READ),
    ],
)
def test_a_file_without_a_run_id_is_refused_with_advice(tmp_path: Path, text: str | bytes, message: str) -> None:
    write(tmp_path, text)
    with pytest.raises(NoTrainingRun, match=message):
        training_run(tmp_path)


@given(
    run_id=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,60}", fullmatch=True).filter(lambda text: text != "null"),
    flavors=st.dictionaries(st.text("abc_", min_size=1), st.dictionaries(st.just("run_id"), st.text()), max_size=3),
)
def test_flavors_and_metadata_do_not_matter(
    tmp_path_factory: pytest.TempPathFactory, run_id: str, flavors: object
) -> None:
    folder = tmp_path_factory.mktemp("model")
    write(folder, yaml.safe_dump({"flavors": flavors, "run_id": run_id, "metadata": flavors}))
    assert training_run(folder) == run_id


@pytest.mark.parametrize(
    ("folders", "given_path", "run_id"),
    [
        ([""], "MLmodel", "run-0"),
        (["artifacts/model"], "", "run-0"),
        (["", "ensemble/member"], "", "run-0"),
        (["a", "b"], "b", "run-1"),
    ],
    ids=["the file itself", "further down", "the nearest", "the one that is named"],
)
def test_the_file_is_found(tmp_path: Path, folders: list[str], given_path: str, run_id: str) -> None:
    for number, folder in enumerate(folders):
        write(tmp_path, f"run_id: run-{number}", folder)
    assert training_run(tmp_path / given_path) == run_id


@pytest.mark.parametrize(
    ("folders", "given_path", "message"),
    [
        (["a", "b"], "", r"contains several models: a/MLmodel, b/MLmodel; give the path of one"),
        ([], "", "does not contain an MLmodel file"),
        ([], "nowhere", "does not contain an MLmodel file"),
    ],
)
def test_the_file_is_not_found(tmp_path: Path, folders: list[str], given_path: str, message: str) -> None:
    for folder in folders:
        write(tmp_path, COMPLETE, folder)
    with pytest.raises(NoTrainingRun, match=message):
        training_run(tmp_path / given_path)
