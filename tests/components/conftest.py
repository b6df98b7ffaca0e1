"""Fixtures: an Azure DevOps emulator with pipelines to trigger, and a trained model."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from devstack.ado import Declaration, Emulator, Served, serve
from devstack.ado.declaration import PipelineDeclaration, SecretSource, VariableDeclaration
from devstack.ado.runs.parameters import ParameterDeclaration
from tests.support.canaries import secret
from tests.support.clock import ManualClock

TOKEN = secret("token")
DECLARATION = Declaration(
    organization="contoso",
    project="mlops",
    branches=("main", "release"),
    pat=SecretSource("UNUSED_PAT", secret("default-pat")),
    token=SecretSource("UNUSED_TOKEN", secret("default-token")),
    pipelines=(
        PipelineDeclaration(
            id=1,
            name="with-parameters",
            revision=3,
            parameters=(
                ParameterDeclaration("runId", "string"),
                ParameterDeclaration("modelName", "string", "none"),
                ParameterDeclaration("correlation", "string", "none"),
            ),
        ),
        PipelineDeclaration(
            id=2,
            name="of-the-playbook",
            variables=(
                VariableDeclaration("model_name", settable=True),
                VariableDeclaration("run_id", settable=True),
            ),
        ),
        PipelineDeclaration(id=3, name="forbidden", may_queue=False),
    ),
)


@pytest.fixture
def pat() -> str:
    return secret("pat")


@pytest.fixture
def served(clock: ManualClock, pat: str) -> Iterator[Served]:
    """An emulator whose clock is four minutes ahead of the test's clock."""
    emulator = Emulator(DECLARATION, pats={pat}, tokens={TOKEN}, clock=lambda: clock() + timedelta(minutes=4))
    with serve(emulator) as served:
        yield served


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """An MLflow model as train.py saves it."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "MLmodel").write_text("flavors:\n  sklearn:\n    code: null\nrun_id: brave_fig_7k2m\n")
    return folder
