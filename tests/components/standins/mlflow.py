"""A stand-in for MLflow. Its store is the folder STANDIN_STORE and its run is STANDIN_RUN_ID."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from sklearn import SGDClassifier

sklearn = models = sys.modules[f"{__name__}.models"] = sys.modules[__name__]  # one module for all of them


class Model:
    def __init__(self, run_id: str) -> None:
        self.run_id = run_id


@contextmanager
def start_run() -> Iterator[SimpleNamespace]:
    yield SimpleNamespace(info=SimpleNamespace(run_id=os.environ["STANDIN_RUN_ID"]))


def log_params(params: Mapping[str, object]) -> None:
    assert set(params) == {"epochs", "share"}


def log_metric(name: str, value: float, step: int = 0) -> None:
    assert name == "accuracy"
    assert 0 <= value <= 1


def log_model(model: Any, artifact_path: str) -> None:
    folder = Path(os.environ["STANDIN_STORE"]) / os.environ["STANDIN_RUN_ID"] / artifact_path
    folder.mkdir(parents=True)
    (folder / "seen").write_text(str(model.seen))


def save_model(model: Any, path: str, *, mlflow_model: Model) -> None:
    Path(path).mkdir()
    (Path(path) / "MLmodel").write_text(f"flavors:\n  sklearn: {{}}\nrun_id: {mlflow_model.run_id}\n")


def load_model(uri: str) -> Any:
    model = SGDClassifier(random_state=0)
    model.seen = int((Path(os.environ["STANDIN_STORE"]) / uri.removeprefix("runs:/") / "seen").read_text())
    return model
