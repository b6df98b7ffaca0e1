#!/bin/sh
# After `azd down`: removes what the postdeploy hook has made beside the workspace. Running it again changes nothing.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=azure.sh
. "$here/azure.sh"

require_azure_cli
require_workspace
require_value AZURE_ENV_NAME "${AZURE_ENV_NAME:-}" "run this by azd"
require_value AZURE_SUBSCRIPTION_ID "${AZURE_SUBSCRIPTION_ID:-}" "run this by azd"

prefix=$(name_prefix)
find_system_topic
if [ -z "$topic_name" ]; then
    say "the workspace has no system topic; nothing is left to remove"
    exit 0
fi

# on_topic COMMAND... : an az command on the event subscriptions of the topic
on_topic() {
    az eventgrid system-topic event-subscription "$@" --subscription "$(id_part "$AML_WORKSPACE_ID" 2)" \
        --resource-group "$topic_group" --system-topic-name "$topic_name"
}

names=$(on_topic list --query '[].name' --output tsv) ||
    fail "the event subscriptions of $topic_name cannot be listed; ask for the role EventGrid Contributor"
others=0
for name in $names; do
    if [ "$name" = "$prefix" ] || [ "$name" = "$prefix-run-status" ]; then
        on_topic delete --name "$name" --yes || fail "the event subscription $name cannot be deleted; delete it by hand"
        say "deleted the event subscription $name"
    else
        others=$((others + 1))
    fi
done

if [ "$topic_name" = "$prefix" ] && [ "$others" -eq 0 ]; then
    az eventgrid system-topic delete --subscription "$(id_part "$AML_WORKSPACE_ID" 2)" \
        --resource-group "$topic_group" --name "$topic_name" --yes ||
        fail "the system topic $topic_name cannot be deleted; delete it by hand"
    say "deleted the system topic $topic_name"
else
    say "the system topic $topic_name stays: it is somebody else's, or serves others"
fi
