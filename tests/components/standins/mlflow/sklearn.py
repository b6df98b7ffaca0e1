"""Keeps models."""

import os
from pathlib import Path
from typing import Any

from mlflow.models import Model
from sklearn.linear_model import SGDClassifier


def log_model(model: Any, artifact_path: str) -> None:
    folder = _artifact(os.environ["STANDIN_RUN_ID"], artifact_path)
    folder.mkdir(parents=True)
    (folder / "seen").write_text(str(model.seen))


def save_model(model: Any, path: str, *, mlflow_model: Model) -> None:
    Path(path).mkdir()
    (Path(path) / "MLmodel").write_text(f"flavors:\n  sklearn: {{}}\nrun_id: {mlflow_model.run_id}\n")


def load_model(uri: str) -> Any:
    run_id, _, artifact_path = uri.removeprefix("runs:/").partition("/")
    model = SGDClassifier(random_state=0)
    model.seen = int((_artifact(run_id, artifact_path) / "seen").read_text())
    return model


def _artifact(run_id: str, artifact_path: str) -> Path:
    return Path(os.environ["STANDIN_STORE"]) / run_id / artifact_path
