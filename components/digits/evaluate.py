"""Evaluates the model that a run has trained; fails where it is not good enough, and says how good it is."""

import argparse
import sys

import mlflow
from data import digits


def main() -> int:
    """0 where the model is good enough, else 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run-id", required=True, help="the training's run")
    parser.add_argument("--least-accuracy", type=float, required=True)
    options = parser.parse_args()
    _, images, _, shown = digits()
    model = mlflow.sklearn.load_model(f"runs:/{options.run_id}/model")
    accuracy = model.score(images, shown)
    with mlflow.start_run():
        mlflow.log_metric("accuracy", accuracy)
    good_enough: bool = accuracy >= options.least_accuracy
    sys.stdout.write(
        f"the model of run {options.run_id} is right about {accuracy:.1%} of the images; "
        f"{options.least_accuracy:.1%} {'were' if good_enough else 'would have been'} enough\n"
    )
    return 0 if good_enough else 1


if __name__ == "__main__":
    sys.exit(main())
