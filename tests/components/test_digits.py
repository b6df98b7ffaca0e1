"""The sample training with real MLflow, on a server that lacks what Azure ML lacks."""

import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
import yaml
from packaging.utils import canonicalize_name
from packaging.version import Version
from werkzeug.wrappers import Request, Response

from components.trigger_pipeline.model_file import training_run
from devstack.http_server import HOST, serving
from tests.components.packages import closure
from tests.components.rendering import command_of
from tests.support import ROOT
from tests.support.effort import only_long
from tests.support.polling import wait_until
from tests.support.prerequisites import need

DIGITS = ROOT / "components" / "digits"
MLFLOW = ROOT / ".venv-mlflow"
FILES = ("components/jobs/train.yml", "components/jobs/evaluate.yml", "components/digits/component.yml")
CONDA_FILE = DIGITS / "conda.yml"
PINS = dict(pin.split("==") for pin in yaml.safe_load(CONDA_FILE.read_text())["dependencies"][-1]["pip"])


@contextmanager
def _mlflow_server(folder: Path) -> Iterator[str]:
    """Run an MLflow server and yield its URL."""
    with socket.create_server((HOST, 0)) as free:
        port = free.getsockname()[1]
    store = (
        "--backend-store-uri",
        folder / "store",
        "--artifacts-destination",
        folder / "artifacts",
        "--serve-artifacts",
    )
    command = (MLFLOW / "bin" / "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1", *store)
    log = (folder / "server.log").open("w")
    process = subprocess.Popen(
        command, env=_environment(folder), stdout=log, stderr=subprocess.STDOUT, start_new_session=True
    )
    try:
        wait_until(lambda: _is_healthy(f"http://{HOST}:{port}"))
        yield f"http://{HOST}:{port}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # the server has processes of its own
        process.wait()
        log.close()


def _environment(folder: Path) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": str(folder)}


def _is_healthy(url: str) -> bool:
    try:
        return requests.get(f"{url}/health", timeout=5).ok
    except requests.RequestException:
        return False


def _like_azure_ml(server: str) -> Callable[[Request], Response]:
    """Return an application that forwards each request to a server, except to the API that Azure ML does not have.

    Source: Azure/azure-sdk-for-python#44896.
    """

    def answer(request: Request) -> Response:
        if "/logged-models" in request.path:
            return Response("", 404)
        kept = {name: value for name, value in request.headers if name in {"Content-Type", "Accept"}}
        url = server + request.full_path
        with requests.Session() as session:
            session.trust_env = False
            got = session.request(request.method, url, data=request.get_data(), headers=kept, timeout=60)
        return Response(got.content, got.status_code, content_type=got.headers["Content-Type"])

    return answer


def _need_mlflow() -> None:
    need(None if (MLFLOW / ".ready").exists() else "MLflow is not installed; run 'make mlflow'")


def _call(url: str, api: str, **body: object) -> Any:
    answer = requests.post(f"{url}/api/2.0/mlflow/{api}", json=body, timeout=60)
    assert answer.ok, answer.text
    return answer.json()


@only_long
def test_a_model_is_trained_logged_evaluated_and_registered(tmp_path: Path) -> None:
    _need_mlflow()
    model = tmp_path / "model"
    with _mlflow_server(tmp_path) as server, serving(Request.application(_like_azure_ml(server))) as proxy:
        # Azure ML creates the runs of a job before it starts, too.
        runs = [_call(proxy.url, "runs/create", experiment_id="0")["run"]["info"] for _ in range(2)]
        [training, evaluation] = [each["run_id"] for each in runs]
        train = [
            {"run": training, "command": command_of("components/jobs/train.yml", inputs, {"model": model})}
            for inputs in ({"epochs": 0}, {"share": 0}, {"share": 1.5}, {"epochs": 10})
        ]
        evaluate = [
            {"run": evaluation, "command": command_of("components/jobs/evaluate.yml", {"run_id": training, **more}, {})}
            for more in ({}, {"least_accuracy": 0.999})
        ]
        ended = subprocess.run(
            [MLFLOW / "bin" / "python", ROOT / "tests" / "components" / "mlflow_program.py"],
            input=json.dumps(train + evaluate),
            cwd=DIGITS,
            env=_environment(tmp_path) | {"MLFLOW_TRACKING_URI": proxy.url},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        *refused, trained, good, bad = json.loads(ended.stdout)
        artifacts = runs[0]["artifact_uri"]
        _call(proxy.url, "registered-models/create", name="digits")
        source = {"source": f"{artifacts}/model", "run_id": training}
        registered = _call(proxy.url, "model-versions/create", name="digits", **source)["model_version"]

    assert [each["code"] for each in refused] == [2, 2, 2]
    assert trained["out"].splitlines()[-1] == f"trained on 1437 images in 10 epochs, run {training}"
    assert [trained["code"], good["code"], bad["code"]] == [0, 0, 1]
    assert f"the model of run {training} classifies 9" in good["out"]
    assert (registered["version"], registered["status"]) == ("1", "READY")

    [logged] = (tmp_path / "artifacts").rglob("MLmodel")
    for folder in (logged.parent, model):
        assert training_run(folder) == training
        # What a deployment without a scoring script needs. Source: Azure/azureml-assets#4579, azureml-examples#4008.
        environment = yaml.safe_load((folder / "conda.yaml").read_text())["dependencies"][-1]["pip"]
        assert {"azureml-ai-monitoring", "azureml-inference-server-http"} <= {pin.split("==")[0] for pin in environment}
        assert all("==" in pin for pin in environment)


def test_jobs_and_component_have_the_same_environment() -> None:
    environments = {file: yaml.safe_load((ROOT / file).read_text())["environment"] for file in FILES}
    assert {(ROOT / file / ".." / each["conda_file"]).resolve() for file, each in environments.items()} == {CONDA_FILE}
    trigger = yaml.safe_load((ROOT / "components/trigger_pipeline/component.yml").read_text())["environment"]
    [image] = {each["image"] for each in [*environments.values(), trigger]}
    month = re.fullmatch(r"mcr\.microsoft\.com/azureml/[\w.-]+:(\d{6})\d{2}\.v\d+", image)
    assert month is not None, "the image is pinned"
    assert month[1] >= "202605", "an earlier one lacks a year of security updates"


@only_long
def test_the_environment_pins_exactly_what_the_training_needs() -> None:
    _need_mlflow()
    [packages] = (MLFLOW / "lib").glob("python3*/site-packages")
    needed = closure("azureml-mlflow", "mlflow-skinny", "pandas", "scikit-learn", path=[str(packages)])
    assert {canonicalize_name(name) for name in PINS} == needed


def test_mlflow_is_older_than_the_api_that_azure_ml_lacks() -> None:
    assert Version(PINS["mlflow-skinny"]) < Version("2.19")
    lines = (ROOT / "requirements" / "mlflow.txt").read_text().splitlines()
    assert f"mlflow=={PINS['mlflow-skinny']}" in lines
