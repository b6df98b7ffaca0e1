"""The run id in an MLmodel file, wherever the file and however it is written."""

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


def write(folder: Path, text: str, *below: str) -> Path:
    file = folder.joinpath(*below, "MLmodel")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


class TestTheText:
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
        ],
    )
    def test_names_the_run(self, tmp_path: Path, text: str, run_id: str) -> None:
        write(tmp_path, text)
        assert training_run(tmp_path) == run_id

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "flavors: {sklearn: {run_id: nested}}",
            "# run_id: in-a-comment",
            "signature: 'run_id: in-a-text'",
            "run_id:",
            "run_id: null",
            "run_id: ''",
            "run_id: {a: mapping}",
            "[run_id, a]",
        ],
    )
    def test_that_names_no_run_is_refused_with_advice(self, tmp_path: Path, text: str) -> None:
        write(tmp_path, text)
        with pytest.raises(NoTrainingRun, match=r"names no run_id; log the model within a run"):
            training_run(tmp_path)

    @pytest.mark.parametrize("content", [b"run_id: 'open", b"run_id: \xff"])
    def test_that_is_not_yaml_is_refused(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "MLmodel").write_bytes(content)
        with pytest.raises(NoTrainingRun, match=r"MLmodel cannot be read: .+; save the model with MLflow"):
            training_run(tmp_path)

    def test_makes_no_objects(self, tmp_path: Path) -> None:
        write(tmp_path, "run_id: a\nx: !!python/object/apply:os.system ['false']\n")
        assert training_run(tmp_path) == "a"

    @given(
        run_id=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,60}", fullmatch=True).filter(lambda text: text != "null"),
        flavors=st.dictionaries(st.text("abc_", min_size=1), st.dictionaries(st.just("run_id"), st.text()), max_size=3),
    )
    def test_whatever_the_flavors_are(
        self, tmp_path_factory: pytest.TempPathFactory, run_id: str, flavors: object
    ) -> None:
        folder = tmp_path_factory.mktemp("model")
        write(folder, yaml.safe_dump({"flavors": flavors, "run_id": run_id, "metadata": flavors}))
        assert training_run(folder) == run_id


class TestThePlace:
    def test_may_be_the_file_itself(self, tmp_path: Path) -> None:
        assert training_run(write(tmp_path, COMPLETE)) == "brave_fig_7k2m"

    def test_may_be_further_down(self, tmp_path: Path) -> None:
        write(tmp_path, COMPLETE, "artifacts", "model")
        assert training_run(tmp_path) == "brave_fig_7k2m"

    def test_the_nearest_counts(self, tmp_path: Path) -> None:
        write(tmp_path, "run_id: outer")
        write(tmp_path, "run_id: inner", "ensemble", "member")
        assert training_run(tmp_path) == "outer"

    def test_of_several_one_must_be_named(self, tmp_path: Path) -> None:
        write(tmp_path, COMPLETE, "a")
        write(tmp_path, COMPLETE, "b")
        with pytest.raises(NoTrainingRun, match=r"several models in .*: a/MLmodel, b/MLmodel; give the path of one"):
            training_run(tmp_path)

    @pytest.mark.parametrize("below", ["", "nowhere"])
    def test_without_a_model(self, tmp_path: Path, below: str) -> None:
        with pytest.raises(NoTrainingRun, match="there is no MLmodel file in"):
            training_run(tmp_path / below)
