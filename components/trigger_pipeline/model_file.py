"""Finds out which run has trained a model, from the MLmodel file that MLflow writes beside every model."""

from pathlib import Path
from typing import Any, Final

import yaml

MODEL_FILE: Final = "MLmodel"
_NOTHING: Final = ("", "~", "null")


class NoTrainingRun(Exception):
    """The model does not tell which run has trained it; the message says why and what would help."""


def training_run(model_path: Path) -> str:
    """The ``run_id`` of a model.

    :param model_path: the model's folder, or a folder with one model somewhere below it, or the MLmodel file.
    :raises NoTrainingRun: there is no MLmodel file, or several, or it names no run.
    """
    file = _model_file(model_path)
    try:
        # As plain text, whatever it looks like: an id of digits alone is no number.
        document = yaml.load(file.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)  # noqa: S506 - makes texts only
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as exc:
        reason = str(exc).splitlines()[0]
        raise NoTrainingRun(f"{file} cannot be read: {reason}; save the model with MLflow") from exc
    # At the top only: what a flavor calls run_id is its own affair.
    run_id: Any = document.get("run_id") if isinstance(document, dict) else None
    if not isinstance(run_id, str) or run_id.strip() in _NOTHING:
        raise NoTrainingRun(
            f"{file} names no run_id; log the model within a run (mlflow.<flavor>.log_model), or save it with "
            "mlflow_model=Model(run_id=…)"
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
        raise NoTrainingRun(f"there are several models in {model_path}: {names}; give the path of one")
    raise NoTrainingRun(f"there is no {MODEL_FILE} file in {model_path}; give the folder of an MLflow model")
