"""Train a classifier of handwritten digits. This is a sample: replace it with your own training.

Small values of ``--share`` and ``--epochs`` make a toy training, for the validation of a pull request. The model is
saved to ``--model``, with the run id in its MLmodel file, and the same files are logged with the run
(``runs:/<run id>/model``).
"""

import argparse
import sys
from pathlib import Path

import mlflow
from data import digits
from mlflow.models import Model
from sklearn.linear_model import SGDClassifier

# What Azure ML needs to serve the model without a scoring script. It becomes part of the model's conda.yaml, and is not
# needed for the training.
SERVING = ["azureml-ai-monitoring==1.0.0", "azureml-inference-server-http==1.5.1"]


def main() -> None:
    """Train, log and save the model."""
    options = _options()
    training, testing, training_labels, testing_labels = digits()
    count = max(1, round(len(training) * options.share))
    with mlflow.start_run() as run:
        mlflow.log_params({"epochs": options.epochs, "share": options.share})
        model = SGDClassifier(random_state=0)
        for epoch in range(options.epochs):
            model.partial_fit(training[:count], training_labels[:count], classes=range(10))
            mlflow.log_metric("accuracy", model.score(testing, testing_labels), step=epoch)
        mlflow.sklearn.save_model(
            model,
            str(options.model),
            mlflow_model=Model(artifact_path="model", run_id=run.info.run_id),
            extra_pip_requirements=SERVING,
        )
        mlflow.log_artifacts(str(options.model), "model")
    sys.stdout.write(f"trained on {count} images in {options.epochs} epochs, run {run.info.run_id}\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--share", type=float, required=True, help="share of the training images to use")
    parser.add_argument("--model", type=Path, required=True, help="the folder to save the model to")
    options = parser.parse_args()
    if options.epochs < 1 or not 0 < options.share <= 1:
        parser.error("--epochs must be at least 1, --share must be greater than 0 and at most 1")
    return options


if __name__ == "__main__":
    main()
