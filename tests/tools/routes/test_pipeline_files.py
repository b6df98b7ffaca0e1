"""The parameters that a pipeline's YAML declares."""

from pathlib import Path

import pytest

from tools.routes.pipeline_files import DeclaredParameter, UnreadablePipeline, find, read


def declared(tmp_path: Path, text: str) -> dict[str, DeclaredParameter]:
    (tmp_path / "p.yml").write_text(text)
    return read(tmp_path / "p.yml")


def test_parameters_are_read_as_azure_pipelines_reads_them(tmp_path: Path) -> None:
    text = """
trigger: none
parameters:
  - name: runId
    displayName: Run
    type: string
  - { name: Flag, type: boolean, default: true }
  - { name: count, type: number, default: 5, values: [1, 5] }
  - { name: plain, default: "" }
  - { name: day, default: 2026-02-30 }
  - { name: steps, type: stepList, default: [] }
steps:
  - script: ${{ if eq(parameters.Flag, true) }}
"""
    assert declared(tmp_path, text) == {
        "runid": DeclaredParameter("runId"),
        "flag": DeclaredParameter("Flag", "boolean", "true"),
        "count": DeclaredParameter("count", "number", "5", ("1", "5")),
        "plain": DeclaredParameter("plain", "string", ""),
        "day": DeclaredParameter("day", "string", "2026-02-30"),
        "steps": DeclaredParameter("steps", "stepList", "[]"),
    }
    assert declared(tmp_path, "parameters: { a: 1, b: '' }") == {
        "a": DeclaredParameter("a", "legacyObject", "1"),
        "b": DeclaredParameter("b", "legacyObject", ""),
    }
    assert declared(tmp_path, "steps: []") == {}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: [1", "is not YAML"),
        (b"[" * 100_000, "is not YAML: collections are nested more than 100 levels deep"),
        (b"parameters: [{name: a, default: !!int x}]", "is not YAML: contains a value that does not fit its tag"),
        (b"\xff", "cannot be read"),
        (b"", "is not a pipeline: the YAML must be an object"),
        (b"parameters: 3", "is not a pipeline: 'parameters' must be a list"),
        (b"parameters: [{type: string}]", "is not a pipeline: 'parameters' must be a list"),
    ],
)
def test_files_that_are_not_pipelines(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "p.yml").write_bytes(content)
    with pytest.raises(UnreadablePipeline, match=message):
        read(tmp_path / "p.yml")


def test_the_file_is_found_by_the_pipelines_name(tmp_path: Path) -> None:
    routes, folder = tmp_path / "routes.yaml", tmp_path / "pipelines"
    folder.mkdir()
    assert find(routes, "a") is None
    (folder / "a.yaml").write_text("")
    assert find(routes, "a") == folder / "a.yaml"
    (folder / "a.yml").write_text("")
    assert find(routes, "\\x\\a") == folder / "a.yml"
    assert find(routes, 7) is None


@pytest.mark.parametrize(
    ("parameter", "right", "wrong"),
    [
        (DeclaredParameter("p"), ["", "x"], []),
        (DeclaredParameter("p", values=("a", "b")), ["a"], ["A", ""]),
        (DeclaredParameter("p", "number"), ["1", "2.5", "-3"], ["x", ""]),
        (DeclaredParameter("p", "number", values=("1", "2")), ["1.0"], ["3"]),
        (DeclaredParameter("p", "boolean"), ["true", "False"], ["yes", "1"]),
        (DeclaredParameter("p", "boolean", values=("true",)), ["TRUE"], ["false"]),
        (DeclaredParameter("p", "object", values=("x",)), ["anything"], []),
    ],
)
def test_values(parameter: DeclaredParameter, right: list[str], wrong: list[str]) -> None:
    assert [parameter.refusal(value) for value in right] == [None] * len(right)
    assert all(parameter.refusal(value) for value in wrong)
