"""The layout of the project: modules import only from lower layers, never in a circle, and folders stay small."""

import ast
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Final

import pytest

from tests.support import ROOT

MAX_MODULES: Final = 16
LARGER: Final = {"tools/commands": 20, "tests/tools/commands": 20}
"""A module is a command there, or its test, and the listing of the folder is the list of features."""

# From the lowest to the highest layer. A module may import from its own row and from the rows before it, but never in a
# circle.
_BASE: Final = ("clock", "clouds", "durations", "errors", "lazy", "logs", "suggestion", "version")
LAYERS: Final = (
    tuple(f"shared.{name}" for name in _BASE),
    ("shared.credentials", "shared.events", "shared.http", "shared.telemetry"),
    ("shared.azure_devops", "shared.journal"),
    ("shared.settings",),
    ("shared.routing",),
    ("shared.proof", "shared.deciding", "shared.notifications", "shared.waits"),
    ("shared.queueing",),
    ("shared.relay",),
    ("shared.redrive",),
    ("shared.resume",),
    ("shared.composition",),
    ("handlers",),
    ("function_app", "components", "tools"),
    ("devstack", "manage"),
    ("bench",),
    ("tests",),
)
RANKS: Final = {entry: rank for rank, row in enumerate(LAYERS) for entry in row}
# Lower layers that must not be imported either. For example, the component is uploaded to Azure ML without handlers.
FORBIDDEN: Final = {"components": {"handlers"}, "devstack": {"tools"}}


def module_name(path: Path) -> str:
    """Return the dotted name of a module. A package has the name of its folder."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def modules() -> Mapping[str, Path]:
    folders = sorted({layer.split(".")[0] for row in LAYERS for layer in row})
    found = [path for folder in folders for path in (ROOT / folder).rglob("*.py") if "node_modules" not in path.parts]
    return {module_name(path): path for path in [*found, ROOT / "function_app.py", ROOT / "manage.py"]}


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imports(path: Path) -> tuple[str, ...]:
    """Return the project's modules that a file imports, anywhere in it."""
    return tuple(_imports(path))


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(parsed(path)):
        match node:
            case ast.Import(names=names):
                wanted = [alias.name for alias in names]
            case ast.ImportFrom(module=str(module), names=names, level=0):
                wanted = [f"{module}.{alias.name}" for alias in names]
                wanted = [name if name in modules() else module for name in wanted]
            case _:
                continue
        yield from (name for name in wanted if name in modules())


@cache
def layer_of(module: str) -> str:
    """Return the entry of LAYERS that a module belongs to."""
    entries = [entry for row in LAYERS for entry in row if f"{module}.".startswith(f"{entry}.")]
    assert len(entries) == 1, f"{module} must be in exactly one entry of LAYERS"
    return entries[0]


def test_modules_import_only_from_lower_layers() -> None:
    upward = []
    for module, path in modules().items():
        if module == "shared":
            continue
        own = layer_of(module)
        for imported in imports(path):
            other = layer_of(imported)
            if RANKS[other] > RANKS[own] or other in FORBIDDEN.get(own, set()):
                upward.append(f"{module} imports {imported}")
    assert upward == []


@pytest.mark.parametrize("by", ["module", "layer"])
def test_no_imports_are_circular(by: str) -> None:
    graph: dict[str, set[str]] = {}
    for module, path in modules().items():
        if module == "shared":
            continue
        name = (lambda found: found) if by == "module" else layer_of
        graph.setdefault(name(module), set()).update(
            name(found) for found in imports(path) if name(found) != name(module)
        )
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as exc:
        pytest.fail(f"these import each other: {' <- '.join(exc.args[1])}")


def test_no_folder_has_too_many_modules() -> None:
    sizes = Counter(path.parent for path in modules().values() if path.stem not in {"__init__", "__main__"})
    named = {folder.relative_to(ROOT).as_posix(): size for folder, size in sizes.items()}
    assert {name: size for name, size in named.items() if size > LARGER.get(name, MAX_MODULES)} == {}


def test_no_test_module_imports_another_one() -> None:
    tests = {module for module in modules() if module.rpartition(".")[2].startswith("test_")}
    assert {module: found for module in tests if (found := tests & set(imports(modules()[module])))} == {}


CLOCKS: Final = frozenset({"utc_now", "now", "utcnow", "today", "time", "time_ns", "monotonic", "perf_counter"})


def looks_at_the_clock(node: ast.AST) -> Iterator[int]:
    """Yield the lines of a module that look at the clock when it is imported. The bodies of functions do not."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            inside: list[ast.AST] = [*node.decorator_list, node.args]
        case ast.Lambda():
            inside = [node.args]
        case _:
            inside = list(ast.iter_child_nodes(node))
    if isinstance(node, ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in CLOCKS:
            yield node.lineno
    for each in inside:
        yield from looks_at_the_clock(each)


def test_no_module_looks_at_the_clock_when_it_is_imported() -> None:
    """A test may run long after its module was imported, and an instance of the app lives for days."""
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for name, path in modules().items()
        if name != "bench.programs.import_time"  # measures an import
        for line in looks_at_the_clock(parsed(path))
    ]
    assert found == []


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("NOW = datetime.now(UTC)", [1]),
        ("class A:\n    began = utc_now() - timedelta(minutes=15)", [2]),
        ("@pytest.mark.parametrize('at', [time.time()])\ndef test(at): ...", [1]),
        ("def f(at=utc_now()): ...", [1]),
        ("def f():\n    return utc_now()\nclock = lambda: utc_now()\nG = field(default_factory=utc_now)", []),
    ],
)
def test_the_clock_is_found(source: str, lines: list[int]) -> None:
    assert list(looks_at_the_clock(ast.parse(source))) == lines
