"""The run that trained a model, read from the MLmodel file that MLflow writes for every model."""

from pathlib import Path
from typing import Any, Final

import yaml

MODEL_FILE: Final = "MLmodel"
_NOTHING: Final = ("", "~", "null")


class NoTrainingRun(Exception):
    """The model does not name the run that trained it. The message states the cause and the remedy."""


def training_run(model_path: Path) -> str:
    """Return the ``run_id`` of a model.

    :param model_path: the model's folder, a folder that contains exactly one model at any depth, or an MLmodel file.
    :raises NoTrainingRun: if there is no MLmodel file, if there are several, or if it does not name a run.
    """
    file = _model_file(model_path)
    try:
        # BaseLoader keeps scalars as strings: an id of digits must not become a number.
        document = yaml.load(file.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)  # noqa: S506 - only strings
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as exc:
        reason = str(exc).splitlines()[0]
        raise NoTrainingRun(f"{file} cannot be read: {reason}; save the model with MLflow") from exc
    # Only at the top level: a flavor may have its own run_id.
    run_id: Any = document.get("run_id") if isinstance(document, dict) else None
    if not isinstance(run_id, str) or run_id.strip() in _NOTHING:
        raise NoTrainingRun(
            f"{file} does not contain a run_id; log the model within a run (mlflow.<flavor>.log_model), or save it "
            "with mlflow_model=Model(run_id=…)"
        )
    return run_id.strip()


def _model_file(model_path: Path) -> Path:
    for candidate in (model_path, model_path / MODEL_FILE):
        if candidate.is_file():
            return candidate
    found = sorted(model_path.rglob(MODEL_FILE))
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(str(file.relative_to(model_path)) for file in found)
        raise NoTrainingRun(f"{model_path} contains several models: {names}; give the path of one")
    raise NoTrainingRun(f"{model_path} does not contain an {MODEL_FILE} file; give the folder of an MLflow model")
