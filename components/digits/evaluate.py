"""Evaluate the model that a run trained, and fail if its accuracy is too low."""

import argparse
import sys

import mlflow
from data import digits


def main() -> int:
    """Return 0 if the model is good enough, otherwise 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run-id", required=True, help="the run that trained the model")
    parser.add_argument("--least-accuracy", type=float, required=True, help="the accuracy that is required")
    options = parser.parse_args()
    _, images, _, labels = digits()
    model = mlflow.sklearn.load_model(f"runs:/{options.run_id}/model")
    accuracy = model.score(images, labels)
    with mlflow.start_run():
        mlflow.log_metric("accuracy", accuracy)
    good_enough: bool = accuracy >= options.least_accuracy
    sys.stdout.write(
        f"the model of run {options.run_id} classifies {accuracy:.1%} of the images correctly; "
        f"{options.least_accuracy:.1%} required\n"
    )
    return 0 if good_enough else 1


if __name__ == "__main__":
    sys.exit(main())
