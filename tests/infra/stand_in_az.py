"""Stands in for the Azure CLI: keeps what there is in the file AZ_STATE, and notes every call in the file AZ_CALLS.

Run as a program; answers the commands that the hooks use, and exits with 2 for any other.
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

Options = dict[str, Any]
State = dict[str, Any]

SIGNED_IN = "the subscription that one is signed in to"


def main(arguments: list[str]) -> int:
    state_file = Path(os.environ["AZ_STATE"])
    with Path(os.environ["AZ_CALLS"]).open("a") as calls:
        calls.write(json.dumps(arguments) + "\n")
    state = json.loads(state_file.read_text())
    words = []
    while arguments and not arguments[0].startswith("-"):
        words.append(arguments.pop(0))
    answer = answer_to(" ".join(words), options(arguments), state)
    state_file.write_text(json.dumps(state))
    return answer


def options(arguments: list[str]) -> Options:
    """From option to its value; ``--parameters`` takes what follows as ``name=value``."""
    found: Options = {}
    while arguments:
        name = arguments.pop(0)
        if name == "--parameters":
            found[name] = dict(pair.split("=", 1) for pair in arguments)
            return found
        found[name] = arguments.pop(0) if arguments and not arguments[0].startswith("--") else ""
    return found


def answer_to(command: str, given: Options, state: State) -> int:
    answer = ANSWERS.get(command)
    if answer is None:
        print(f"the stand-in knows no 'az {command}'", file=sys.stderr)
        return 2
    return answer(given, state)


def show_account(given: Options, state: State) -> int:
    subscription = given.get("--subscription", SIGNED_IN)
    return int(not state["signed_in"] or subscription not in (SIGNED_IN, *state["subscriptions"]))


def show_resource(given: Options, state: State) -> int:
    if "/functions/" in given["--ids"]:
        state["looks_until_function"] -= 1
        return int(state["looks_until_function"] > 0)
    if given["--ids"].lower() != state["workspace"].lower():
        return 3
    if given.get("--query") == "location":
        print("westeurope")
    return 0


def list_topics(given: Options, state: State) -> int:
    if not state["may_list"]:
        return 1
    for topic in state["topics"]:
        print(topic["source"], topic["name"], topic["group"], topic["identity"] or "None", sep="\t")
    return 0


def delete_topic(given: Options, state: State) -> int:
    if "--yes" not in given:
        return 2  # the real one would ask
    state["topics"].remove(named(given["--name"], state))
    return 0


def list_subscriptions(given: Options, state: State) -> int:
    print(*named(given["--system-topic-name"], state)["subscriptions"], sep="\n")
    return 0


def delete_subscription(given: Options, state: State) -> int:
    if "--yes" not in given:
        return 2
    named(given["--system-topic-name"], state)["subscriptions"].remove(given["--name"])
    return 0


def deploy(given: Options, state: State) -> int:
    """Make of events/main.bicep what Azure would: a topic, where it is to, and two subscriptions."""
    if state["failing_deployments"] > 0:
        state["failing_deployments"] -= 1
        print("the role has not arrived", file=sys.stderr)
        return 1
    parameters = given["--parameters"]
    name = parameters["systemTopicName"]
    if parameters["createSystemTopic"] == "true" and not any(topic["name"] == name for topic in state["topics"]):
        group = parameters["systemTopicResourceGroup"]
        topic = {
            "source": parameters["workspaceId"],
            "name": name,
            "group": group,
            "identity": "p",
            "subscriptions": [],
        }
        state["topics"].append(topic)
    subscriptions = named(name, state)["subscriptions"]
    for subscription in (parameters["namePrefix"], parameters["namePrefix"] + "-run-status"):
        if subscription not in subscriptions:
            subscriptions.append(subscription)
    return 0


def named(name: str, state: State) -> dict[str, Any]:
    (topic,) = (topic for topic in state["topics"] if topic["name"] == name)
    found: dict[str, Any] = topic
    return found


ANSWERS: dict[str, Callable[[Options, State], int]] = {
    "account show": show_account,
    "resource show": show_resource,
    "deployment sub create": deploy,
    "eventgrid system-topic list": list_topics,
    "eventgrid system-topic delete": delete_topic,
    "eventgrid system-topic event-subscription list": list_subscriptions,
    "eventgrid system-topic event-subscription delete": delete_subscription,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
