"""Tests of conditions and templates: their values, their errors, and what must never reach a pipeline."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import ExpressionFailed, MissingValue, UnsafeValue
from shared.routing.expression_tree import value_at
from shared.routing.templates import Expression, InvalidExpression, forbidden_in, is_true, parse_template

NAMES = {"run_id": (), "tags": (), "number": (), "event": ("id", "type"), "data": ()}
ANYTHING = re.compile(r"(?s).*")


def rendered(text: str, scope: dict[str, Any], allow: re.Pattern[str] | None = None) -> str:
    return parse_template(text, None).render(scope, allow)


@pytest.mark.parametrize(
    ("text", "values", "expected"),
    [
        ("v", [True, "x", 0, 1.5, ["x"], {"a": 1}, [None]], True),
        ("v", [False, None, "", [], {}], False),
        ("v >= `0.3`", [0.3, 1], True),
        ("v >= `0.3`", [0.29, None], False),
    ],
)
def test_which_values_are_true(text: str, values: list[Any], expected: bool) -> None:
    condition = Expression(text, None)
    assert [is_true(condition.evaluate({"v": value})) for value in values] == [expected] * len(values)


@pytest.mark.parametrize(
    ("text", "scope", "complaint"),
    [
        ("number >= `0.3`", {"number": "0.5"}, "'>=' not supported"),
        ("contains(tags.owner, 'x')", {"tags": {}}, r"'contains.*cannot be evaluated on this event"),
        ("sort_by(tags, &@)", {"tags": [{}, {}]}, "cannot be evaluated"),  # jmespath raises a TypeError
    ],
)
def test_values_of_the_wrong_kind_make_the_evaluation_fail(text: str, scope: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ExpressionFailed, match=complaint):
        Expression(text, NAMES).evaluate(scope)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        *(("tags.team", "exact"), ("tags.Team", "other"), ("tags.TEAM", "exact")),
        *(("tags.GITHUB_REPOSITORY", "a/b"), ("Tags.github_repository", "a/b"), ("tags.TEAM.x", None)),
        *(("tags.steam", None), ("list.team", None), ("number.team", None), ("nothing.team", None), ("no", None)),
    ],
)
def test_keys_are_found_in_any_case_and_an_exact_match_comes_first(path: str, value: str | None) -> None:
    tags = {"team": "exact", "Team": "other", "githuB_REPOSITORY": "a/b"}
    scope = {"tags": tags, "list": [tags], "number": 1, "nothing": None}
    assert Expression(path, None).evaluate(scope) == value_at(scope, path.split(".")) == value


def test_keys_below_a_list_or_a_function_are_found_in_any_case() -> None:
    scope = {"tags": [{"Team": "x"}, {"team": "y"}]}
    for text in ("tags[*].TEAM", "tags[?TEAM].team", "[tags[0].tEAM, max_by(tags, &TEAM).team]", "map(&TEAM, tags)"):
        assert Expression(text, None).evaluate(scope) == ["x", "y"]


class TestExpressionIsCheckedWhenItIsCompiled:
    @pytest.mark.parametrize(
        "text",
        [
            "run_id == 'x' && number > `1`",
            "event.id",
            "event",
            "data.anything.goes",
            "tags.anything | length(@)",
            "tags.*.deep",
            "data.list[?inner == 'x'].name",
            "data.list[0].name",
            "data.list[0:2]",
            "data.list[]",
            "sort_by(data.list, &inner)",
            "{a: run_id, b: tags.x}",
            "[run_id, number]",
            "!number || not_null(tags.a, run_id)",
            "join(',', data.list)",
            "@.run_id",
            '`{"a": 1}`.a',
        ],
    )
    def test_known_names(self, text: str) -> None:
        assert Expression(text, NAMES).text == text

    @pytest.mark.parametrize(
        ("text", "complaint"),
        [
            ("run_idd", "uses the name 'run_idd', which does not exist here; did you mean 'run_id'?"),
            ("RunId", "did you mean 'run_id'?"),
            ("zzzz", "known: data, event, number, run_id, tags"),
            ("event.ident", "uses the name 'event.ident'"),
            ("event.typ", "did you mean 'event.type'?"),
            ("number > run || tags", "uses the name 'run'"),
            ("lenght(tags)", "uses the function 'lenght', which does not exist here; did you mean 'length'?"),
            ("tags[?a == b].c | [0]", None),
            ("join(',', lists)", "uses the name 'lists'"),
            ("run_id ==", "is not JMESPath: the expression is not complete"),
            ("", "is not JMESPath: the expression is not complete"),
            ("run_id 'x'", "is not JMESPath: Unexpected token: x"),
            ("run_id = 'x'", "is not JMESPath: Unknown token '='; write =="),
            ("run_id and tags", "is not JMESPath: Unexpected token: and; write &&"),
            ("run_id & tags", "write &&"),
            ("(run_id", "is not JMESPath: the expression is not complete"),
            ("run_id.'x'", "got: literal at 'x'"),
            ("run_id == 'x", "is not JMESPath: Unclosed ' delimiter"),
            ('"run_id"(tags)', "Quoted identifier not allowed for function names. at '('"),
            ("length()", "calls the function 'length' with 0 arguments; it takes 1"),
            ("contains(tags)", "calls the function 'contains' with 1 argument; it takes 2"),
            ("merge()", "calls the function 'merge' with 0 arguments; it takes 1 or more"),
            ("merge(tags, tags, tags)", None),
        ],
    )
    def test_unknown_names_and_syntax_errors(self, text: str, complaint: str | None) -> None:
        if complaint is None:
            Expression(text, NAMES)
            return
        with pytest.raises(InvalidExpression) as caught:
            Expression(text, NAMES)
        assert complaint in str(caught.value)

    @pytest.mark.parametrize(
        ("text", "offsets"),
        [
            ("  number > run || tgs.a", [11, 18]),
            ("number == `1` && (", [18]),
            ("run_id = 'x'", [7]),
            ("lenght(run_idd) || tags.a || run_idd", [0, 7]),
            ("data.list[?nope == 'x'] && nope", [27]),
            ("", [None]),
        ],
    )
    def test_each_fault_has_an_offset(self, text: str, offsets: list[int | None]) -> None:
        with pytest.raises(InvalidExpression) as caught:
            Expression(text, NAMES)
        assert [fault.offset for fault in caught.value.faults] == offsets


# Values that a shell could interpret.
SHELL = ["a;b", "a&b", "a|b", "`a`", "$a", "a\\b", "'a'", '"a"', "<a>", "a*", "a#b", "é", "a\nb", "a!", "a(b)", "[a]"]
# Values that are forbidden whatever a route allows.
MACROS = ["$(rm -rf)", "x ${{ y", "$[ z ]", "##vso[task.setvariable]", "##VSO[task.setvariable]", "##[error]"]
CONTROLS = ["a\nb", "a\x00b", "a\x1bb", "a\u202eb", "a\u2028b"]


class TestRendering:
    @pytest.mark.parametrize(
        ("value", "text"),
        [
            ("models:/fraud detector@prod/7, v=1.0+x", "models:/fraud detector@prod/7, v=1.0+x"),
            ("", ""),
            (7, "7"),
            (0.25, "0.25"),
            (True, "true"),
            (False, "false"),
            ("x" * 1024, "x" * 1024),
        ],
    )
    def test_values(self, value: object, text: str) -> None:
        assert rendered("<{{ v }}>", {"v": value}) == f"<{text}>"

    def test_several_placeholders_and_none(self) -> None:
        assert rendered("{{ a }}-{{b}}{{ a }}", {"a": "x", "b": 2}) == "x-2x"
        assert rendered("literal $HOME; 100 %", {}) == "literal $HOME; 100 %"

    @pytest.mark.parametrize(
        ("value", "complaint"),
        [(None, "has no value"), ([1], "is a list"), ({}, "is an object"), (float("inf"), "is not a finite number")],
    )
    def test_what_is_not_a_single_value(self, value: object, complaint: str) -> None:
        with pytest.raises(MissingValue, match=complaint):
            rendered("{{ v }}", {"v": value})

    @pytest.mark.parametrize(
        ("text", "value", "allow", "complaint"),
        [
            *(("{{ v }}", value, None, "which does not match|must never reach") for value in [*SHELL, "é" * 1000]),
            *(("{{ v }}", value, ANYTHING, "must never reach") for value in [*MACROS, *CONTROLS]),
            ("{{ v }}", "a;é!", re.compile("[a-z;é]+"), "the route's 'allow'"),
            ("{{ v }}(secret)", "$", ANYTHING, r"'\$\('"),  # a value and a literal form a macro
            ("{{ v }}", "x" * 1025, ANYTHING, "1025 characters long; at most 1024 are allowed"),
        ],
    )
    def test_what_is_refused(self, text: str, value: str, allow: re.Pattern[str] | None, complaint: str) -> None:
        with pytest.raises(UnsafeValue, match=complaint) as caught:
            rendered(text, {"v": value}, allow)
        assert len(str(caught.value)) < 1000

    def test_a_route_may_allow_more(self) -> None:
        assert rendered("{{ v }}", {"v": "a;é"}, re.compile("[a-z;é]+")) == "a;é"

    @given(st.text())
    def test_no_accepted_value_can_be_interpreted_by_a_pipeline(self, value: str) -> None:
        try:
            text = rendered("{{ v }}", {"v": value}, ANYTHING)
        except UnsafeValue:
            return
        assert text == value
        assert forbidden_in(text) is None
        assert not any(ord(character) < 32 for character in text)

    @given(st.text(alphabet=st.characters(codec="ascii")))
    def test_by_default_only_the_conservative_alphabet_passes(self, value: str) -> None:
        harmless = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-:/@ =,+")
        try:
            rendered("{{ v }}", {"v": value})
        except UnsafeValue:
            assert not set(value) <= harmless
        else:
            assert set(value) <= harmless

    def test_a_key_takes_any_single_value(self) -> None:
        assert parse_template("{{ a }}|{{ b }}", None).render_any({"a": "é;$(", "b": 1}) == "é;$(|1"
        with pytest.raises(MissingValue):
            parse_template("{{ a }}", None).render_any({"a": None})


class TestTemplateIsCheckedWhenItIsCompiled:
    @pytest.mark.parametrize("text", ["{{ a", "a }}", "{{ a }} }}", "{{{{ a }}"])
    def test_placeholders_must_be_closed(self, text: str) -> None:
        with pytest.raises(InvalidExpression):
            parse_template(text, None)

    def test_every_fault_is_reported_with_its_offset(self) -> None:
        text = "a $(b) {{ run_idd }} {{ number == }} {{ tags }} }}"
        with pytest.raises(InvalidExpression) as caught:
            parse_template(text, NAMES)
        assert [(fault.offset, fault.text.split(";")[0]) for fault in caught.value.faults] == [
            (0, "contains '$(', which must never reach a pipeline"),
            (text.index("run_idd"), "uses the name 'run_idd', which does not exist here"),
            (text.index("number ==") + len("number =="), "is not JMESPath: the expression is not complete"),
            (text.rindex("}}"), "has a placeholder that is not closed"),
        ]
