"""The chain of events, routes and pipelines, its loops, and its pictures."""

import itertools
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.builders import route, routes
from tools.routes.chain.chain import Chain, chain_of
from tools.routes.chain.labels import route_lines
from tools.routes.chain.layout import Box, Layout
from tools.routes.chain.mermaid import mermaid
from tools.routes.chain.svg import svg

SVG = "{http://www.w3.org/2000/svg}"


A = route("a", "RunCompleted")
B = route("b", "ModelRegistered")


def chain(*entries: str) -> Chain:
    return chain_of(routes(*entries).routes)


class TestLoops:
    @pytest.mark.parametrize(
        ("entries", "loops"),
        [
            ([A], []),
            ([f"{A}\ncauses: [RunCompleted]"], [("a",)]),
            ([f"{A}\ncauses: [RunCompleted]\ncooldown: 6h"], []),
            ([f"{A}\ncauses: [RunCompleted]\nenabled: false"], []),
            ([f"{A}\ncauses: [ModelRegistered]", f"{B}\ncauses: [ModelDeployed]",
              route("c", "ModelDeployed", "causes: [RunCompleted]")], [("a", "b", "c")]),
            ([f"{A}\ncauses: [ModelRegistered]", f"{B}\ncauses: [RunCompleted]\ncooldown: 1h"], []),
            ([f"{A}\ncauses: [ModelRegistered]", f"{B}\ncauses: [RunCompleted]\ncooldown: 1h",
              route("c", "ModelRegistered", "causes: [RunCompleted]")], [("a", "c")]),
            ([f"{A}\ncauses: [RunCompleted, ModelRegistered]", f"{B}\ncauses: [RunCompleted]"], [("a",), ("b", "a")]),
            ([f"{A}\nwhen: contains(run_id, 'x')\ncauses: [RunCompleted]"], [("a",)]),
        ],
    )  # fmt: skip
    def test_they_are_found(self, entries: list[str], loops: list[tuple[str, ...]]) -> None:
        assert list(chain(*entries).loops) == loops

    @pytest.mark.parametrize(
        ("known", "is_loop"),
        [
            ("{ experiment_name: train }", True),
            ("{ experiment_name: evaluate }", False),
            ("{ run_tags.kind: x }", True),
            ("{ experiment_name: train, run_tags.kind: nightly }", False),
            ("{ experiment_name: train, run_tags.Kind: nightly }", False),
            ("{ experiment_name: train, run_tags.KIND: x, run_tags.kind: nightly }", False),
            ("{}", True),
        ],
    )
    def test_known_values_of_an_event_may_break_a_loop(self, known: str, is_loop: bool) -> None:
        when = "when: experiment_name == 'train' && run_tags.kind != 'nightly'"
        found = chain(route("a", "RunCompleted", when, f"causes: [{{ event: RunCompleted, with: {known} }}]"))
        assert bool(found.loops) is is_loop
        assert found.leads_to == {"a": ("a",) if is_loop else ()}

    def test_only_steps_of_a_loop_are_marked(self) -> None:
        found = chain(
            route("a", "RunCompleted", "causes: [ModelRegistered, ModelDeployed]"),
            route("b", "ModelRegistered", "causes: [RunCompleted]"),
        )
        marked = [(pipeline[-1], event) for (pipeline, event), is_in_loop in found.causes().items() if is_in_loop]
        assert marked == [("a-pipeline", "ModelRegistered"), ("b-pipeline", "RunCompleted")]


class TestLabels:
    def test_a_label_lists_everything_that_decides(self) -> None:
        lines = ["when: run_id", "cooldown: 1d12h30m5s", "cooldown_key: '{{ run_id }}'", "include_child_runs: true"]
        entry = route("a", "RunCompleted", *lines, "once_per: '{{ root_run_id }}'", "enabled: false")
        assert route_lines(routes(entry).routes[0], 80) == [
            "when run_id",
            "switched off",
            "includes child runs",
            "once per {{ root_run_id }}",
            "at most once in 1d12h30m5s per {{ run_id }}",
        ]


@st.composite
def tables(draw: st.DrawFn) -> Chain:
    """Tables of all shapes: long names, many routes of one event, shared pipelines, causes in both directions."""
    events = st.sampled_from(["RunCompleted", "ModelRegistered", "ModelDeployed", "RunStatusChanged"])

    def entry(number: int) -> str:
        conditions = draw(st.integers(0, 6))
        return route(
            f"r{number}" + "-long" * draw(st.integers(0, 10)),
            draw(events),
            f"causes: [{', '.join(draw(st.lists(events, max_size=3, unique=True)))}]",
            f"enabled: {str(draw(st.booleans())).lower()}",
            *([f"when: {' && '.join(['event.subject'] * conditions)}"] if conditions else []),
            pipeline=f"p{draw(st.integers(0, 5))}",
        )

    return chain(*(entry(number) for number in range(draw(st.integers(1, 9)))))


def overlap(one: Box, other: Box) -> bool:
    return one.x < other.right and other.x < one.right and one.y < other.bottom and other.y < one.bottom


class TestLayout:
    @given(tables())
    def test_everything_is_drawn_and_nothing_overlaps(self, table: Chain) -> None:
        layout = Layout(table)
        boxes = [*layout.events, *layout.routes, *layout.pipelines]
        assert len(boxes) == len(table.events) + len(table.routes) + len(table.pipelines)
        assert not [pair for pair in itertools.combinations(boxes, 2) if overlap(*pair)]
        for box in boxes:
            assert 0 < box.x < box.right < layout.width
            assert 0 < box.y < box.bottom < layout.height
        caused = {(route.pipeline, cause.event) for route in table.routes for cause in route.causes}
        assert len(layout.lines) == 2 * len(table.routes) + len(caused)
        assert any(line.is_in_loop for line in layout.lines) is bool(table.loops)
        for line in layout.lines:
            for (x1, y1), (x2, y2) in itertools.pairwise(line.points) if line.is_caused else ():
                segment = Box(min(x1, x2), min(y1, y2), abs(x1 - x2), abs(y1 - y2), "")
                assert not [box.name for box in boxes if overlap(segment, box)]
                assert 0 < segment.x <= segment.right < layout.width


class TestSvg:
    @given(tables())
    def test_it_is_xml_with_every_name_in_it(self, table: Chain) -> None:
        root = ET.fromstring(svg(table, "title & <more>"))  # noqa: S314 - our own text
        assert root.findtext(f"{SVG}title") == "title & <more>"
        texts = [element.text or "" for element in root.iter(f"{SVG}text")]
        titles = [element.text for element in root.iter(f"{SVG}title")]
        for each in table.routes:
            assert each.name in texts or each.name in titles

    def test_no_text_is_wider_than_its_box(self) -> None:
        """Measured with DejaVu, the widest of the usual fonts."""
        layout = Layout(chain(route("m" * 30, "RunCompleted", "when: " + "experiment_name == 'wwwwww'")))
        for box in (*layout.events, *layout.routes, *layout.pipelines):
            assert all(len(line) * 6.63 <= box.width - 16 for line in box.lines)

    def test_disabled_routes_are_dashed_and_loops_are_in_the_legend(self) -> None:
        drawn = svg(chain(f"{A}\ncauses: [RunCompleted]", f"{B}\nenabled: false"), "t")
        expected = ('class="route off"', 'class="link off"', "a loop without a cooldown", "prefers-color-scheme: dark")
        assert [words for words in expected if words not in drawn] == []
        assert "a loop without a cooldown" not in svg(chain(B), "t")
        assert svg(Chain((), (), (), {}, ()), "t").startswith("<svg "), "an empty table can be drawn"

    def test_a_name_that_is_cut_has_a_title(self) -> None:
        name = "n" * 63
        drawn = svg(chain(route(name, "RunCompleted", pipeline="p" * 90)), "t")
        assert f"<title>{name}</title>" in drawn
        assert f">{'n' * 39}…</text>" in drawn


class TestMermaid:
    def test_the_whole_chain(self) -> None:
        table = chain(
            route("a", "RunCompleted", 'when: "experiment_name == \'x\' && run_tags.\\"b c\\" > `3`"', pipeline="p"),
            route("b", "ModelRegistered", "causes: [RunCompleted]", "enabled: false", pipeline="p"),
            route("c", "RunCompleted", "causes: [RunCompleted]", pipeline="\\f\\q"),
        )
        assert mermaid(table).splitlines() == [
            "graph LR",
            '    event0(["RunCompleted"])',
            '    event1(["ModelRegistered"])',
            '    route0["a<br/>when experiment_name == #39;x#39;<br/>#38;#38; run_tags.#34;b c#34; #62; #96;3#96;"]',
            '    route1["b<br/>switched off"]',
            '    route2["c"]',
            '    pipeline0[["p"]]',
            '    pipeline1[["#92;f#92;q"]]',
            "    event0 --> route0",
            "    route0 --> pipeline0",
            "    event1 --> route1",
            "    route1 --> pipeline0",
            "    event0 --> route2",
            "    route2 --> pipeline1",
            "    pipeline0 -. causes .-> event0",
            "    pipeline1 -. causes .-> event0",
            "    linkStyle 7 stroke:#cf222e,stroke-width:3px",
            "    classDef off stroke-dasharray:4 4",
            "    class route1 off",
        ]

    def test_pipelines_of_several_projects_are_distinguished(self) -> None:
        drawn = mermaid(chain(A, route("b", "RunCompleted", "project: other")))
        assert '[["a-pipeline in mlops"]]' in drawn
        assert '[["b-pipeline in other"]]' in drawn
