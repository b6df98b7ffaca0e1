"""Run the commands of jobs in one process, because MLflow takes seconds to import, and print the results as JSON.

    .venv-mlflow/bin/python tests/components/mlflow_program.py <commands.json

Run it in the folder of the job's code. The input is a list of objects: ``run``, the MLflow run that the command
continues, as on Azure ML, and ``command``, such as "python train.py --epochs 1". The result of a command has ``code``
and ``out``.
"""

import contextlib
import io
import json
import os
import runpy
import shlex
import sys
from pathlib import Path
from typing import Any


def run(command: str, run_id: str) -> dict[str, Any]:
    """Run a Python program and return its exit code and its output."""
    python, *sys.argv = shlex.split(command)
    assert python == "python"
    os.environ["MLFLOW_RUN_ID"] = run_id
    code: object = 0
    with contextlib.redirect_stdout(io.StringIO()) as out:
        try:
            runpy.run_path(sys.argv[0], run_name="__main__")
        except SystemExit as ended:
            code = ended.code
    return {"code": code or 0, "out": out.getvalue()}


if __name__ == "__main__":
    sys.path.insert(0, str(Path.cwd()))  # as for a program in this folder
    results = [run(each["command"], each["run"]) for each in json.load(sys.stdin)]
    json.dump(results, sys.stdout)
