"""Whatever a file contains, ``check`` reports findings, and the app loads it or refuses it with its own error."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from handlers import NAMES
from shared.errors import InvalidRoutes
from shared.routing.routes_file import load_routes
from tests.support import ROOT
from tests.support.builders import ENVIRONMENT, EVERY_KEY
from tests.support.effort import amount
from tests.support.payloads import any_text
from tools.routes.checks import check
from tools.routes.findings import Rule, Severity
from tools.routes.pipeline_files import UnreadablePipeline, read
from tools.routes.schema import routes_schema

EXAMPLES = [
    (ROOT / "routes.yaml").read_text(),
    "version: 1\nroutes:\n  - " + EVERY_KEY.strip().replace("\n", "\n    ") + "\n",
]
KEYS = ["version", "defaults", "<<", *routes_schema(NAMES)["definitions"]["route"]["properties"]]
# Every piece of syntax that a reader of the file handles, and values that no reader expects.
PIECES = [
    *("[", "]", "{", "}", "- ", ": ", "? ", "\n", "\n    ", "  ", "'", '"', "\\", "#", "|", ">-", "&a ", "*a", ", "),
    *("{{", "}}", "{{ run_id }}", "{ run_id }", "${{", "${", "${X}", "$X", "$(", "${AZURE_DEVOPS_EXT_PAT}"),
    *("!!int ", "!!bool ", "!!float ", "!!timestamp ", "!!null ", "!!set ", "!!binary ", "!x ", "!!python/name:os "),
    *("~", "null", "true", "-1", "0", "1e999", ".nan", "0x_", "2026-02-30", "1:99:99", "9" * 5000, "\u2028", "\x85"),
    *("`0.5`", "`[`", "||", "&&", "!", "==", "@", "&x", "[?", "[*]", ".*", "length(", "run_tags.a", "data.x", "((((("),
    *("https://", "http://[", "://a:b@c", "(a*)*b", "(?=", "\\1", "30m", "99999d", "/ml/p", "\\ml\\p"),
    *(f"{key}: " for key in KEYS),
    *NAMES,
]  # fmt: skip


def outcome(text: str) -> None:
    findings = check(text, Path("nowhere/routes.yaml"), NAMES, ENVIRONMENT)[1]
    assert all(found.line >= 1 and found.column >= 1 for found in findings)
    errors = [found for found in findings if found.severity is Severity.ERROR and found.rule is not Rule.YAML_VALUE]
    try:
        load_routes(text, source="routes.yaml", names=NAMES, environment=ENVIRONMENT)
    except InvalidRoutes:
        # A value that is not set here may be set where the app runs.
        assert errors or any(found.rule is Rule.UNSET_ENVIRONMENT for found in findings)
    else:
        assert not errors


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """Return a table in which a few parts are replaced."""
    text = draw(st.sampled_from(EXAMPLES))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = start + draw(st.sampled_from([0, 0, 1, 3, 20]))
        text = text[:start] + draw(st.sampled_from(PIECES) | any_text) + text[end:]
    return text


@st.composite
def routes_of_pieces(draw: st.DrawFn) -> str:
    """Return a table with one route, in which the value of a key is made of pieces."""
    value = "".join(draw(st.lists(st.sampled_from(PIECES), max_size=6)))
    key = draw(st.sampled_from([*KEYS, "parameters:\n      x", "causes: [{ event: RunCompleted, with: { run_id"]))
    return f"version: 1\nroutes:\n  - name: a\n    event: RunCompleted\n    pipeline: p\n    {key}: {value}\n"


pieces = st.lists(st.sampled_from(PIECES), max_size=30).map("".join)
texts = (any_text | pieces | damaged() | routes_of_pieces()).map(
    lambda text: text.encode(errors="ignore").decode()  # a file is UTF-8
)


@settings(max_examples=amount(200, 2_000), database=None, suppress_health_check=list(HealthCheck))
@given(texts)
def test_any_text_is_read_or_refused(text: str) -> None:
    outcome(text)


@pytest.mark.parametrize("piece", PIECES)
def test_many_of_one_piece(piece: str) -> None:
    for text in (piece * 300, EXAMPLES[0] + "  - " + piece * 300):
        outcome(text)


@settings(max_examples=amount(50, 2_000), suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=60) | pieces.map(str.encode) | pieces.map("parameters: {}".format).map(str.encode))
def test_any_pipeline_file_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "p.yml"
    file.write_bytes(content)
    try:
        read(file)
    except UnreadablePipeline:
        return
