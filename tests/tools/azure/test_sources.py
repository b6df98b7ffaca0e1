"""The form of NEXTSTAGE_EVENT_SOURCES, and what Event Grid gets of it."""

import json
from typing import Any

import pytest

from devstack.arm import sample
from tests.support.azd import PREFIX
from tools.azure.event_resources import is_our_subscription, source_name
from tools.azure.plan import Plan
from tools.azure.sources import SOURCES, Source, read_sources, resource_of
from tools.errors import CommandFailed

LANDING = sample.account()["id"]
CREATED = "Microsoft.Storage.BlobCreated"
CONTAINERS = "/blobServices/default/containers/"
GROUP = f"/subscriptions/{sample.SUBSCRIPTION}/resourceGroups/data/providers"


def read(*entries: Any) -> tuple[Source, ...]:
    return read_sources(json.dumps(entries))


def mistakes(text: str) -> list[str]:
    """Return the mistakes in a value, without the name of the variable."""
    with pytest.raises(CommandFailed) as caught:
        read_sources(text)
    assert caught.value.exit_code == 2
    lines = str(caught.value).splitlines()
    assert [line for line in lines if not line.startswith(SOURCES)] == []
    return [line.removeprefix(SOURCES).lstrip(", ") for line in lines]


class TestTheFilter:
    def test_every_key(self) -> None:
        api = {"operatorType": "StringIn", "key": "data.api", "values": ["FlushWithClose"]}
        (source,) = read(
            {
                "source": f" {LANDING}/ ",
                "types": [CREATED],
                "subject_begins_with": "/blobServices/default/containers/landing/blobs/day=",
                "subject_ends_with": "/_SUCCESS",
                "advanced_filters": [api],
            }
        )
        assert (source.resource.id, source.resource.words) == (LANDING, "storage account landing")
        assert source.filter == {
            "includedEventTypes": [CREATED],
            "subjectBeginsWith": "/blobServices/default/containers/landing/blobs/day=",
            "subjectEndsWith": "/_SUCCESS",
            "advancedFilters": [api],
        }

    def test_all_event_types_of_a_topic(self) -> None:
        (source,) = read({"source": f"{GROUP}/Microsoft.EventGrid/topics/orders"})
        assert (source.filter, source.resource.kind, source.resource.is_topic) == ({}, "topic", True)

    def test_none(self) -> None:
        assert read_sources("") == read_sources("[]") == ()

    @pytest.mark.parametrize(
        "one",
        [
            {"operatorType": "BoolEquals", "key": "data.isFinal", "value": False},
            {"operatorType": "NumberGreaterThan", "key": "data.contentLength", "value": 0},
            {"operatorType": "NumberInRange", "key": "data.contentLength", "values": [[1, 2]] * 25},
            {"operatorType": "StringNotContains", "key": "subject", "values": ["x" * 512]},
            {"operatorType": "IsNotNull", "key": "data.url"},
        ],
    )
    def test_advanced_filters(self, one: dict[str, Any]) -> None:
        assert read({"source": LANDING, "advanced_filters": [one]})[0].filter == {"advancedFilters": [one]}


class TestMistakes:
    @pytest.mark.parametrize("text", ["[", "[" * 100_000, "landing", "[{'source': 'x'}]"])
    def test_it_is_not_json(self, text: str) -> None:
        (said,) = mistakes(text)
        assert said.startswith("is not JSON: ")
        assert said.endswith(
            'it has the form [{"source": "<resource id>", "types": ["Microsoft.Storage.BlobCreated"]}]'
        )

    @pytest.mark.parametrize(
        ("operator", "value", "shown"),
        [
            ("BoolEquals", {"value": "true"}, '"true"'),
            ("NumberGreaterThan", {"value": "0"}, '"0"'),
            ("NumberIn", {"values": [1, True]}, "true"),
            ("NumberInRange", {"values": [[1, 2], [1]]}, "[1]"),
            ("NumberNotInRange", {"values": [1]}, "1"),
            ("StringIn", {"values": ["PutBlob", 1]}, "1"),
        ],
    )
    def test_a_value_is_of_another_kind(self, operator: str, value: dict[str, Any], shown: str) -> None:
        one = {"key": "data.x", "operatorType": operator, **value}
        (said,) = mistakes(json.dumps([{"source": LANDING, "advanced_filters": [one]}]))
        assert said.endswith(f"filter 1 of 'advanced_filters' cannot compare with {shown} by {operator}")

    def test_it_is_not_a_list(self) -> None:
        assert mistakes('{"source": "x"}')[0].startswith("must be a list; it has the form [")

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"source": None}, "needs a 'source': the resource id of a storage account, a topic, or another"),
            ({"source": "landing"}, "'source' is not a resource id: landing; it has the form /subscriptions/<id>/"),
            ({"source": LANDING.partition("/providers")[0]}, "'source' is not a resource id: /subscriptions/"),
            ({"source": f"{LANDING}/blobServices/default"}, "'source' must be the storage account itself; choose a"),
            ({"source": f"{GROUP}/Microsoft.EventGrid/domains/d"}, "'source' is a domain; name one of its topics: <id"),
            ({"source": f"{GROUP}/Microsoft.EventGrid/namespaces/n"}, "'source' has the type Microsoft.EventGrid/name"),
            ({"type": CREATED}, "has an unknown key 'type'; did you mean 'types'?"),
            ({"types": CREATED}, "'types' must be a list of event types, such as [\"Microsoft.Storage.BlobCreated\"]"),
            ({"types": []}, "'types' must be a list of event types"),
            ({"types": [1]}, "'types' must be a list of event types"),
            ({"subject_begins_with": ""}, "'subject_begins_with' must be a string that is not empty"),
            ({"subject_ends_with": [".csv"]}, "'subject_ends_with' must be a string that is not empty"),
            ({"subject_ends_with": "*.csv"}, "'subject_ends_with' has a '*', but Event Grid knows no wildcards"),
            ({"subject_begins_with": "landing/"}, "'subject_begins_with' matches no blob: landing/; the subject of a"),
            ({"subject_begins_with": f"{CONTAINERS}landing/day="}, "'subject_begins_with' matches no blob: /blobServ"),
            ({"advanced_filters": {}}, "'advanced_filters' must be a list of filters in Event Grid's form"),
        ],
    )
    def test_of_an_entry(self, changes: dict[str, Any], said: str) -> None:
        (found,) = mistakes(json.dumps([{"source": LANDING, "types": [CREATED], **changes}]))
        assert found.partition(": ")[2].startswith(said)

    @pytest.mark.parametrize(
        "begins",
        [
            "/blob",
            CONTAINERS,
            f"{CONTAINERS}land",
            f"{CONTAINERS}landing/",
            f"{CONTAINERS}Landing/BLOBS/day=",
            "/blobs/x",
        ],
    )
    def test_of_a_beginning_that_a_subject_can_have(self, begins: str) -> None:
        types = ["Microsoft.Storage.LifecyclePolicyCompleted"] if begins == "/blobs/x" else [CREATED]
        entry = {"source": LANDING, "types": types, "subject_begins_with": begins}
        assert read(entry)[0].filter["subjectBeginsWith"] == begins

    @pytest.mark.parametrize(
        ("one", "said"),
        [
            ("data.api", "must be an object with a 'key', such as data.api"),
            ({"operatorType": "StringIn", "values": ["a"]}, "must be an object with a 'key', such as data.api"),
            ({"key": "a"}, "has an unknown 'operatorType' None; known: "),
            (
                {"key": "a", "operatorType": "StringIs"},
                "has an unknown 'operatorType' StringIs; did you mean 'StringIn'?",
            ),
            ({"key": "a", "operatorType": "StringIn", "value": "b"}, "needs 'values' for StringIn"),
            ({"key": "a", "operatorType": "StringIn", "values": "b"}, "needs a list of 'values' for StringIn"),
            ({"key": "a", "operatorType": "IsNotNull", "values": ["b"]}, "has no key 'values' for IsNotNull"),
            (
                {"key": "a", "operatorType": "StringIn", "values": ["b" * 513]},
                "has a value of more than 512 characters",
            ),
        ],
    )
    def test_of_an_advanced_filter(self, one: Any, said: str) -> None:
        (found,) = mistakes(json.dumps([{"source": LANDING, "advanced_filters": [one]}]))
        assert found.startswith(f"entry 1 (landing): filter 1 of 'advanced_filters' {said}")

    def test_too_many_values(self) -> None:
        thirteen = {"operatorType": "StringIn", "key": "data.api", "values": ["a"] * 13}
        said = "entry 1 (landing): 'advanced_filters' has 26 filters or values; Event Grid allows 25"
        assert mistakes(json.dumps([{"source": LANDING, "advanced_filters": [thirteen] * 2}])) == [said]

    def test_all_of_them_are_listed_with_their_entries(self) -> None:
        good = {"source": LANDING, "types": [CREATED]}
        again = {"types": [CREATED], "source": LANDING.upper()}
        no_id = (
            "'source' is not a resource id: x/orders; it has the form "
            "/subscriptions/<id>/resourceGroups/<group>/providers/<type>/<name>"
        )
        assert mistakes(json.dumps([7, good, {"source": "x/orders", "typos": 1}, again])) == [
            "entry 1: must be an object with 'source' and 'types'",
            "entry 3 (orders): has an unknown key 'typos'; did you mean 'types'?",
            f"entry 3 (orders): {no_id}",
            "entry 4 (LANDING): is the same as entry 2",
        ]


class TestNames:
    def test_a_type_that_is_known_has_one_spelling(self) -> None:
        found = resource_of(LANDING.upper())
        assert found is not None
        assert (found.type, found.name, found.group) == ("Microsoft.Storage/storageAccounts", "LANDING", "DATA")

    def test_each_filter_has_a_subscription_of_its_own(self) -> None:
        entries = [{"source": LANDING, "types": [CREATED], "subject_ends_with": end} for end in (".csv", ".parquet")]
        long = {"AZURE_ENV_NAME": "x" * 60, "AZURE_SUBSCRIPTION_ID": sample.SUBSCRIPTION, SOURCES: json.dumps(entries)}
        plan = Plan.of(long)
        names = {source_name(plan, source) for source in plan.sources}
        assert len(names) == 2
        assert {len(name) for name in names} == {63}, "Event Grid allows 64"
        assert [name for name in names if not is_our_subscription(plan, name.upper())] == []

    def test_names_of_other_environments(self) -> None:
        plan = Plan.of({"AZURE_ENV_NAME": "dev", "AZURE_SUBSCRIPTION_ID": sample.SUBSCRIPTION, SOURCES: "[]",
                        "AML_WORKSPACE_ID": sample.WORKSPACE})  # fmt: skip
        others = ["nextstage-dev-source-0f0f0f0f", f"{PREFIX}-source-mine", f"{PREFIX}-sources-123abc", "x"]
        assert [name for name in others if is_our_subscription(plan, name)] == []
