"""System topics and event subscriptions: what Event Grid refuses at once, and what makes an operation fail."""

from typing import Any

import pytest

from devstack.arm import sample
from tests.support.services.arm import CONTAINER, EVENTS, SYSTEM_TOPIC, Arm, assignment, role, subscription, topic

OTHER_TOPIC = SYSTEM_TOPIC + "-2"
CUSTOM = SYSTEM_TOPIC.replace("systemTopics/nextstage-dev", "topics/orders")


@pytest.fixture
def ready(arm: Arm) -> Arm:
    """A system topic whose identity may write dead letters, and an app whose functions are listed."""
    made = arm.written(SYSTEM_TOPIC, topic())
    arm.written(role(CONTAINER), assignment(made["identity"]["principalId"]))
    arm.good("POST", f"{sample.APP}/host/default/sync", status=204)
    return arm


def failure(arm: Arm, body: dict[str, Any]) -> tuple[str, str]:
    """Return code and message of the error with which the operation that writes a subscription ends."""
    answer = arm.ask("PUT", EVENTS, body)
    assert answer.status_code in {200, 201}, answer.text
    status = arm.finish(answer)
    assert status["status"] == "Failed"
    assert arm.good("GET", EVENTS)["properties"]["provisioningState"] == "Failed"
    return status["error"]["code"], status["error"]["message"]


class TestTopics:
    def test_a_topic_is_made_and_stays_the_same(self, arm: Arm) -> None:
        answer = arm.ask("PUT", SYSTEM_TOPIC, topic(tags={"a": "b"}))
        assert (answer.status_code, answer.json()["properties"]["provisioningState"]) == (201, "Creating")
        assert "Location" not in answer.headers
        assert arm.finish(answer)["status"] == "Succeeded"
        made = arm.good("GET", SYSTEM_TOPIC)
        assert made["type"] == "Microsoft.EventGrid/systemTopics"
        assert made["properties"]["provisioningState"] == "Succeeded"
        assert {*made["identity"]} == {"type", "principalId", "tenantId"}

        again = arm.ask(
            "PUT", SYSTEM_TOPIC.upper().replace("/SUBSCRIPTIONS/", "/subscriptions/"), topic(tags={"a": "b"})
        )
        assert (again.status_code, again.json()["properties"]["provisioningState"]) == (200, "Updating")
        arm.finish(again)
        assert arm.good("GET", SYSTEM_TOPIC) == made, "also the spelling of its ID"

    def test_a_put_without_an_identity_takes_it_away(self, arm: Arm) -> None:
        arm.written(SYSTEM_TOPIC, topic())
        assert "identity" not in arm.written(SYSTEM_TOPIC, topic(identity=None))

    def test_one_topic_per_source(self, arm: Arm) -> None:
        arm.written(SYSTEM_TOPIC, topic())
        assert arm.refused(400, "InvalidRequest", "PUT", OTHER_TOPIC, topic()) == (
            f"There is an existing tracked system topic for the given source {sample.WORKSPACE}. "
            "Only one system topic is allowed per source."
        )

    @pytest.mark.parametrize(
        ("changes", "code", "message"),
        [
            ({"location": ""}, "LocationRequired", "The location property is required for this definition."),
            ({"location": "northeurope"}, "InvalidRequest", "System topic's location must match with location of"),
            ({"properties": {"source": "/subscriptions/x"}}, "InvalidRequest", "System topic source /subscriptions/x"),
            ({"properties": {"source": sample.WORKSPACE}}, "InvalidRequest", "Topic type  does not match"),
            ({"identity": {"type": "UserAssigned"}}, "InvalidRequest", "The stand-in does not support identities"),
        ],
    )
    def test_refusals(self, arm: Arm, changes: dict[str, Any], code: str, message: str) -> None:
        assert arm.refused(400, code, "PUT", SYSTEM_TOPIC, topic(**changes)).startswith(message)

    def test_a_storage_account(self, arm: Arm) -> None:
        account = sample.account()
        arm.emulator.add(account)
        path = f"{account['id'].partition('/providers/')[0]}/providers/Microsoft.EventGrid/systemTopics/landing"
        source = {"source": account["id"], "topicType": "microsoft.storage.storageaccounts"}
        assert arm.written(path, topic(properties=source))["properties"]["topicType"] == (
            "Microsoft.Storage.StorageAccounts"
        )
        created = {"includedEventTypes": ["Microsoft.Storage.BlobCreated"], "subjectEndsWith": ".csv"}
        assert arm.ask("PUT", f"{path}/eventSubscriptions/sub", subscription(filter=created)).status_code == 201
        said = arm.refused(400, "InvalidRequest", "PUT", f"{path}/eventSubscriptions/sub", subscription())
        assert said.endswith("is not one of the topic type Microsoft.Storage.StorageAccounts.")

    def test_types_of_topics_and_of_events(self, arm: Arm) -> None:
        path = "/providers/Microsoft.EventGrid/topicTypes"
        names = [one["name"] for one in arm.good("GET", f"{path}?api-version=2025-02-15")["value"]]
        assert "Microsoft.Storage.StorageAccounts" in names
        found = arm.good("GET", f"{path}/microsoft.keyvault.vaults/eventTypes?api-version=2025-02-15")["value"]
        assert found[0]["name"] == "Microsoft.KeyVault.SecretNewVersionCreated"

    def test_the_source_stays(self, arm: Arm) -> None:
        arm.written(SYSTEM_TOPIC, topic())
        other = sample.workspace(sample.workspace_id("other"))
        arm.emulator.add(other)
        body = topic(properties={**topic()["properties"], "source": other["id"]})
        assert (
            arm.refused(400, "InvalidRequest", "PUT", SYSTEM_TOPIC, body) == "System topic source cannot be modified."
        )

    def test_names(self, arm: Arm) -> None:
        assert "is invalid" in arm.refused(400, "InvalidRequest", "PUT", SYSTEM_TOPIC + "_", topic())


class TestCustomTopics:
    def test_they_are_only_read(self, arm: Arm) -> None:
        arm.refused(405, "MethodNotAllowed", "PUT", CUSTOM, {"location": "westeurope"})

    def test_cloud_events_stay_cloud_events(self, arm: Arm) -> None:
        identity = {"type": "SystemAssigned", "principalId": sample.IDENTITY}
        document = {"id": CUSTOM, "location": "westeurope", "identity": identity}
        arm.emulator.add({**document, "properties": {"inputSchema": "CloudEventSchemaV1_0"}})
        path = f"{CUSTOM}/eventSubscriptions/sub"
        wanted = {"includedEventTypes": ["com.example.ordered"]}
        said = arm.refused(400, "InvalidRequest", "PUT", path, subscription(filter=wanted))
        assert said == "The topic orders receives CloudEvents, which are not delivered as EventGridSchema."
        body = subscription(filter=wanted, eventDeliverySchema="CloudEventSchemaV1_0")
        assert arm.ask("PUT", path, body).status_code == 201


class TestSubscriptions:
    def test_a_subscription_is_made(self, ready: Arm) -> None:
        made = ready.written(EVENTS, subscription())
        assert made["properties"]["provisioningState"] == "Succeeded"
        assert made["properties"]["topic"] == SYSTEM_TOPIC
        assert made["properties"]["filter"] == subscription()["properties"]["filter"]
        assert ready.ask("PUT", EVENTS, subscription()).status_code == 200

    def test_the_function_must_be_listed(self, arm: Arm) -> None:
        arm.written(SYSTEM_TOPIC, topic())
        code, message = failure(arm, subscription())
        assert code == "Endpoint validation"
        assert message == (
            f"Destination endpoint not found. Resource details: resourceId: {sample.APP}/functions/aml_event. "
            "Resource should pre-exist before attempting this operation."
        )

    def test_the_endpoint_must_answer(self, ready: Arm) -> None:
        ready.switch(validations=1)
        code, message = failure(ready, subscription())
        assert code == "Url validation"
        assert message.startswith(
            "The attempt to validate the provided endpoint https://func-nextstage-dev.azurewebsites"
        )
        assert ready.written(EVENTS, subscription())["properties"]["provisioningState"] == "Succeeded"

    def test_the_identity_must_be_allowed_to_write_dead_letters(self, arm: Arm) -> None:
        arm.good("POST", f"{sample.APP}/host/default/sync", status=204)
        principal = arm.written(SYSTEM_TOPIC, topic())["identity"]["principalId"]
        assert failure(arm, subscription())[0] == "Managed Identity Authorization Error"
        arm.switch(role_checks=2)
        arm.written(role(CONTAINER), assignment(principal))
        for _ in range(2):
            assert failure(arm, subscription())[0] == "Managed Identity Authorization Error"
        assert arm.written(EVENTS, subscription())["properties"]["provisioningState"] == "Succeeded"

    def test_a_role_that_only_reads_is_not_enough(self, arm: Arm) -> None:
        arm.good("POST", f"{sample.APP}/host/default/sync", status=204)
        principal = arm.written(SYSTEM_TOPIC, topic())["identity"]["principalId"]
        arm.written(role(CONTAINER), assignment(principal, "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1"))
        assert failure(arm, subscription())[0] == "Managed Identity Authorization Error"

    @pytest.mark.parametrize("container", ["other", ""])
    def test_the_container_must_exist(self, ready: Arm, container: str) -> None:
        body = subscription()
        where = body["properties"]["deadLetterWithResourceIdentity"]["deadLetterDestination"]["properties"]
        where["blobContainerName"] = container
        code, message = failure(ready, body)
        assert code == "Endpoint validation"
        assert f"/containers/{container}." in message

    def test_a_topic_without_an_identity(self, arm: Arm) -> None:
        arm.written(SYSTEM_TOPIC, topic(identity=None))
        message = arm.refused(400, "InvalidRequest", "PUT", EVENTS, subscription())
        assert message == "The topic nextstage-dev has no identity of the type SystemAssigned."

    def test_without_a_topic(self, arm: Arm) -> None:
        message = arm.refused(404, "ParentResourceNotFound", "PUT", EVENTS, subscription())
        assert SYSTEM_TOPIC in message

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"destination": {"endpointType": "WebHook"}}, "The stand-in does not support the endpoint type WebHook."),
            (
                {"destination": {"endpointType": "AzureFunction", "properties": {"resourceId": sample.APP}}},
                "Invalid event",
            ),
            ({"destination": None}, "Invalid event subscription request: destination must be an object."),
            ({"filter": {"includedEventTypes": ["RunCompleted"]}}, "The event type RunCompleted is not one of"),
            ({"filter": {"advancedFilters": [{"operatorType": "StringIn"}]}}, "An advanced filter must have a key."),
            ({"filter": {"advancedFilters": [{"operatorType": "Like", "key": "k"}]}}, "The operator type Like of the"),
            (
                {"filter": {"advancedFilters": [{"operatorType": "StringIn", "key": "k", "values": []}]}},
                "The advanced filter StringIn on k must have values.",
            ),
            (
                {"filter": {"advancedFilters": [{"operatorType": "StringIn", "key": "k", "values": ["x" * 513]}]}},
                "A value of an advanced filter is longer than 512 characters.",
            ),
            (
                {"filter": {"advancedFilters": [{"operatorType": "StringIn", "key": "k", "values": ["x"] * 26}]}},
                "The maximum number of values allowed on an advanced filter is 25.",
            ),
            ({"retryPolicy": {"maxDeliveryAttempts": 31}}, "retryPolicy: maxDeliveryAttempts must be between 1 and 30"),
            (
                {"retryPolicy": {"eventTimeToLiveInMinutes": 1441}},
                "retryPolicy: eventTimeToLiveInMinutes must be between",
            ),
            ({"eventDeliverySchema": "Mine"}, "The event delivery schema Mine is not supported."),
            ({"deadLetterWithResourceIdentity": {"deadLetterDestination": {}}}, "Invalid event subscription request"),
            ({"filter": {"subject_ends_with": ".csv"}}, "A filter has no property subject_ends_with."),
        ],
    )
    def test_refusals(self, ready: Arm, changes: dict[str, Any], message: str) -> None:
        assert ready.refused(400, "InvalidRequest", "PUT", EVENTS, subscription(**changes)).startswith(message)

    @pytest.mark.parametrize(
        "filters",
        [
            [],
            [{"operatorType": "StringIn", "key": "data.runStatus", "values": ["Completed"] * 25}],
            [{"operatorType": "IsNotNull", "key": "data.ModelTags.stage"}],
            [{"operatorType": "BoolEquals", "key": "data.x", "value": True}],
        ],
    )
    def test_filters(self, ready: Arm, filters: list[dict[str, Any]]) -> None:
        body = subscription(filter={"advancedFilters": filters})
        assert ready.written(EVENTS, body)["properties"]["filter"]["advancedFilters"] == filters

    def test_names(self, ready: Arm) -> None:
        assert "is invalid" in ready.refused(400, "InvalidRequest", "PUT", EVENTS + "." * 60, subscription())
