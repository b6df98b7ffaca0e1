"""Whose run a listed build is, by value."""

import json
from bisect import bisect_left
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.azure_devops.reconcile import (
    Expected,
    extra_parameters,
    group_by_likeness,
    likeness_of,
    read_builds,
)
from shared.azure_devops.runs import RunRequest
from shared.azure_devops.values import Likeness
from shared.errors import AnswerLost

APP = "aaaaaaaa-0000-0000-0000-000000000001"
PERSON = "bbbbbbbb-0000-0000-0000-000000000002"
PLAN = "cccccccc-0000-5000-8000-000000000003"
REQUEST = RunRequest("https://dev.azure.com/contoso", "mlops", 13, parameters={"v": "1"})
EXPECTED = Expected(REQUEST, PLAN, APP)


def listed(**changes: Any) -> dict[str, Any]:
    """A build as the service lists it, which fits ``EXPECTED``."""
    return {
        "id": 500,
        "reason": "manual",
        "status": "inProgress",
        "requestedBy": {"id": APP},
        "requestedFor": {"id": APP},
        "sourceBranch": "refs/heads/main",
        "definition": {"id": 13, "revision": 4},
        "orchestrationPlan": {"planId": "dddddddd-0000-0000-0000-000000000004"},
        "templateParameters": {"v": "1"},
        **changes,
    }


def likeness(expected: Expected = EXPECTED, **changes: Any) -> Likeness:
    (build,) = read_builds({"value": [listed(**changes)]})
    return likeness_of(build, expected)


def value_likeness(sent: str, answer: Any) -> Likeness:
    expected = Expected(REQUEST._replace(parameters={"v": sent}), PLAN, APP)
    return likeness(expected, templateParameters={"V": answer})


def nested(depth: int) -> Any:
    """Return a nested list, or None if Python cannot read it here."""
    try:
        return json.loads("[" * depth + "]" * depth)
    except RecursionError:
        return None


def deepest(less: int) -> Any:
    """Return the most deeply nested list that Python can read here, without some of its levels."""
    return nested(bisect_left(range(100_000), True, key=lambda depth: nested(depth + 1) is None) - less)


class TestValues:
    @pytest.mark.parametrize(
        ("sent", "answer"),
        [
            ("1", "1"),
            ("true", "True"),
            ("False", False),
            ('{"a":1,"b":[2]}', '{\n  "a": 1,\n  "b": [\n    2\n  ]\n}'),
            ("[1, 2]", [1, 2]),
            ("2026-11-20T10:00:00Z", "11/20/2026 10:00:00"),
            ("2026-11-20T10:00:00Z", "11/20/2026 10:00:00 AM"),
            ("2026-11-20T12:00:00+02:00", "2026-11-20T10:00:00"),
            ("2026-11-20T10:00:00.1234567Z", "2026-11-20T10:00:00.1234567Z"),
            ("2026-11-20T10:00:00.123456+00:00", "11/20/2026 10:00:00"),
            ("2026-11-20T10:00:00.123456+00:00", "2026-11-20T10:00:00"),
            ("2026-11-20T12:00:00+02", "11/20/2026 10:00:00 AM"),
            ("2026-11-20T10:00:00z", "11/20/2026 10:00:00"),
            ('{"v":1.10}', '{ "v": 1.10 }'),
            ("", ""),
        ],
    )
    def test_equal(self, sent: str, answer: Any) -> None:
        assert value_likeness(sent, answer) is Likeness.FIT

    @pytest.mark.parametrize(
        ("sent", "answer"),
        [
            ("1.10", "1.1"),
            ("10", "1e1"),
            ("7", "07"),
            ("1_0", "10"),
            ("2.0", "2"),
            ("5", "+5"),
            ("20240812101530121", "20240812101530122"),
            ("1", True),
            ("Train", "train"),
            ('{"a":1}', '{"a":2}'),
            ('{"a":1}', "[object Object]"),
            ("2026-11-20T10:00:00Z", "11/20/2026 10:00:01"),
            ("2026-11-20T10:00:00.1234567Z", "2026-11-20T10:00:00.1234568Z"),
            ('{"a":1}', '{"a":true}'),
            ("[20240812101530121]", "[20240812101530122]"),
            ('{"v":"1.10"}', '{"v":"1.1"}'),
        ],
    )
    def test_different(self, sent: str, answer: Any) -> None:
        assert value_likeness(sent, answer) is Likeness.DIFFERENT

    @pytest.mark.parametrize(
        ("sent", "answer"),
        [
            ("1", None),
            ("2026-11-20T10:00:00Z", "Fri 20 Nov 2026 10:00"),
            ("2026-11-20T10:00:00Z", "11/20/2026 12:00:00"),  # perhaps in the server's time
            ("2026-11-08T10:00:00Z", "08/11/2026 10:00:00"),  # perhaps the day first
            ("2026-11-20T10:00:00Z", "20.11.2026 10:00:00"),
            ('{"v":1.10}', '{"v":1.1}'),
            ("two\nlines", "two\r\nlines"),
        ],
    )
    def test_in_a_form_that_is_not_known(self, sent: str, answer: Any) -> None:
        assert value_likeness(sent, answer) is Likeness.UNCLEAR

    @given(st.text(), st.text())
    def test_only_equal_strings_and_equal_meanings_fit(self, sent: str, answer: str) -> None:
        """Without a boolean, JSON or a date-time, only the same string fits."""
        if not sent.lstrip().startswith(("{", "[")) and sent.lower() not in {"true", "false"}:
            assert (value_likeness(sent, answer) is Likeness.FIT) == (sent == answer)


class TestBuilds:
    def test_fits(self) -> None:
        assert likeness() is Likeness.FIT

    @pytest.mark.parametrize(
        "changes",
        [
            {"requestedBy": {"id": PERSON}, "requestedFor": {"id": PERSON}},
            {"reason": "schedule"},
            {"reason": "individualCI"},
            {"templateParameters": {"v": "2"}},
            {"templateParameters": {}},
        ],
        ids=["a person", "a schedule", "a push", "other values", "no values"],
    )
    def test_of_somebody_else(self, changes: dict[str, Any]) -> None:
        assert likeness(**changes) is Likeness.DIFFERENT

    @pytest.mark.parametrize(
        "changes",
        [{"templateParameters": None}, {"requestedBy": None, "requestedFor": None}],
        ids=["no parameters shown", "no requester shown"],
    )
    def test_that_show_too_little(self, changes: dict[str, Any]) -> None:
        assert likeness(**changes) is Likeness.UNCLEAR

    def test_the_requester_is_not_compared_if_the_credential_has_changed(self) -> None:
        assert likeness(replace(EXPECTED, requester=None), requestedBy={"id": PERSON}) is Likeness.FIT

    @pytest.mark.parametrize(
        ("request_changes", "changes", "right"),
        [
            ({"branch": "main"}, {}, Likeness.FIT),
            ({"branch": "dev"}, {}, Likeness.DIFFERENT),
            ({"pipeline_version": 4}, {}, Likeness.FIT),
            ({"pipeline_version": 5}, {}, Likeness.DIFFERENT),
            ({"variables": {"K": "x"}}, {"parameters": '{"k": "x", "system.debug": "false"}'}, Likeness.FIT),
            ({"variables": {"K": "x"}}, {"parameters": '{"k": "y"}'}, Likeness.DIFFERENT),
            ({"variables": {"K": "x"}}, {"parameters": "{}"}, Likeness.DIFFERENT),
            ({"variables": {"K": "x"}}, {"parameters": None}, Likeness.UNCLEAR),
        ],
    )
    def test_branch_version_and_variables(
        self, request_changes: dict[str, Any], changes: dict[str, Any], right: Likeness
    ) -> None:
        expected = replace(EXPECTED, request=REQUEST._replace(**request_changes))
        assert likeness(expected, **changes) is right

    @pytest.mark.parametrize(
        "changes",
        [{"orchestrationPlan": {"planId": PLAN.upper()}}, {"plans": [{"planId": "x"}, {"planId": PLAN}]}],
    )
    def test_with_our_orchestration_id_is_ours_whatever_else_it_shows(self, changes: dict[str, Any]) -> None:
        assert likeness(templateParameters=None, requestedBy=None, **changes) is Likeness.EXACT

    @pytest.mark.parametrize(
        ("changes", "right"),
        [
            ({}, Likeness.EXACT),
            ({"requestedBy": {"id": PERSON}, "requestedFor": {"id": PERSON}}, Likeness.EXACT),
            ({"templateParameters": {"v": "2"}}, Likeness.DIFFERENT),
            ({"templateParameters": None}, Likeness.UNCLEAR),
            (
                {"templateParameters": None, "requestedBy": {"id": PERSON}, "requestedFor": {"id": PERSON}},
                Likeness.DIFFERENT,
            ),
        ],
    )
    def test_with_a_correlation_parameter(self, changes: dict[str, Any], right: Likeness) -> None:
        expected = replace(EXPECTED, request=REQUEST._replace(correlation_parameter="v"))
        assert likeness(expected, **changes) is right

    def test_more_parameters_than_were_sent(self) -> None:
        (build,) = read_builds({"value": [listed(templateParameters={"v": "1", "Fast": True})]})
        assert likeness_of(build, EXPECTED) is Likeness.FIT
        assert extra_parameters(build, REQUEST) == {"Fast": "true"}

    def test_live_ones_come_first(self) -> None:
        page = {"value": [listed(id=1, result="canceled"), listed(id=2, status="cancelling"), listed(id=3)]}
        fits = group_by_likeness(read_builds(page), EXPECTED)[Likeness.FIT]
        assert [build.run.id for build in fits] == [3, 1, 2]


class TestReading:
    @pytest.mark.parametrize(
        "build",
        [
            listed(parameters="{ 'x': '1' }"),
            listed(parameters="[]"),
            listed(parameters=7),
            listed(templateParameters="v=1"),
            *(listed(id=bad) for bad in (10**22, 0, -1, None, [1], True, "7")),
            None,
            [],
        ],
    )
    def test_what_cannot_be_read_stops_nothing(self, build: Any) -> None:
        read = read_builds({"value": [build, listed(id=501)]})
        assert [one.run.id for one in read] == [501]

    @pytest.mark.parametrize("less", [0, 3, 6, 10, 20, 500])
    @pytest.mark.parametrize("place", ["templateParameters", "parameters", "_links", "queueTime", "tags"])
    def test_nested_values_stop_nothing(self, place: str, less: int) -> None:
        """Found by a security test. What can be read may still be nested too deeply for what is done with it."""
        deep = deepest(less)
        value = {
            "parameters": f'{{"v": {"[" * (1000 - less)}}}',
            "templateParameters": {"v": deep},
            "_links": {"web": {"href": deep}},
            "queueTime": deep,
            "tags": [deep],
        }[place]
        read = read_builds({"value": [listed(**{place: value}), listed(id=501)]})
        assert read[-1].run.id == 501
        assert all(likeness_of(one, EXPECTED) in Likeness for one in read)

    @pytest.mark.parametrize("document", [None, [], {}, {"value": None}, {"value": {}}, "x"])
    def test_not_a_list_of_builds(self, document: Any) -> None:
        with pytest.raises(AnswerLost, match="not a list of builds"):
            read_builds(document)

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from([*listed(), "plans", "tags", "x"]), inner),
        )
    )
    def test_nothing_that_is_json_ends_in_another_error(self, build: Any) -> None:
        for one in read_builds({"value": [build]}):
            assert likeness_of(one, EXPECTED) in Likeness
