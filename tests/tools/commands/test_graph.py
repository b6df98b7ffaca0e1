"""``manage.py graph``: the picture, and the one of the default table in docs/routes.md."""

from tests.support import ROOT
from tests.tools.conftest import Desk

PICTURE = "docs/routes.svg"


def test_the_picture_in_the_docs_is_up_to_date(desk: Desk) -> None:
    result = desk.process("graph", ROOT / "routes.yaml", "--format", "svg", "--strict")
    assert (result.code, result.err) == (0, "")
    assert result.out == (ROOT / PICTURE).read_text(), f"run: ./manage.py graph --format svg --output {PICTURE}"
    assert "](routes.svg)" in (ROOT / "docs" / "routes.md").read_text()


def test_mermaid_is_the_default_and_needs_no_environment_values(desk: Desk) -> None:
    desk.settings = {"AZURE_DEVOPS_ORG_URL": "", "AZURE_DEVOPS_PROJECT": ""}
    result = desk.process("graph")
    assert (result.code, result.err) == (0, "")
    assert result.out.splitlines()[:2] == ["graph LR", '    event0(["RunCompleted"])']
    assert "\x1b" not in result.out


def test_a_loop_gives_a_warning(desk: Desk) -> None:
    desk.routes("name: a\nevent: RunCompleted\npipeline: p\ncauses: [RunCompleted]")
    result = desk.run("graph", "routes.yaml")
    warning = "'a': may loop without end: a -> a; none of these routes has a cooldown"
    assert (result.code, result.err) == (0, f"routes.yaml:7:13: warning: {warning}\n")
    assert desk.run("graph", "--strict").code == 1


def test_json_and_files(desk: Desk) -> None:
    desk.routes(
        "name: a\nevent: RunCompleted\npipeline: p\nwhen: run_id == 'x'\ncooldown: 6h\n"
        "causes: [{ event: RunStatusChanged, with: { run_status: Failed } }]",
        "name: b\nevent: RunStatusChanged\npipeline: q\nenabled: false",
        "name: c\nevent: RunStatusChanged\npipeline: q",
    )
    document = desk.run("graph", "--json").json
    assert (document["events"], document["loops"]) == (["RunCompleted", "RunStatusChanged"], [])
    # fmt: off
    assert document["routes"][0] == {
        "name": "a", "event": "RunCompleted", "enabled": True, "when": "run_id == 'x'", "cooldown": "6h",
        "organization_url": "http://127.0.0.1:9/contoso", "project": "mlops", "pipeline": "p",
        "causes": [{"event": "RunStatusChanged", "with": {"run_status": "Failed"}}], "leads_to": ["c"],
    }
    # fmt: on
    file = desk.folder / "graph"
    for options in (["--json"], ["--format", "svg"], ["--format", "mermaid"]):
        result = desk.run("graph", *options, "--output", file)
        assert (result.code, result.out) == (0, "")
        assert file.read_text() == desk.run("graph", *options).out
