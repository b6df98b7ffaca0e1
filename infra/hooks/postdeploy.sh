#!/bin/sh
# After `azd deploy`: brings the workspace's events to the function. Running it again changes nothing.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=azure.sh
. "$here/azure.sh"

pause_seconds=${NEXTSTAGE_HOOK_PAUSE_SECONDS:-15}
function_tries=20
deployment_tries=4

require_azure_cli
require_workspace
for name in AZURE_ENV_NAME AZURE_SUBSCRIPTION_ID AZURE_LOCATION AZURE_RESOURCE_GROUP NEXTSTAGE_FUNCTION_APP_ID \
    NEXTSTAGE_STORAGE_ACCOUNT_ID NEXTSTAGE_DEAD_LETTER_CONTAINER NEXTSTAGE_IDENTITY_PRINCIPAL_ID; do
    eval "value=\${$name:-}"
    # shellcheck disable=SC2154  # eval sets it
    require_value "$name" "$value" "run 'azd provision' first, and this by azd"
done

location=$(az resource show --ids "$AML_WORKSPACE_ID" --query location --output tsv) ||
    fail "there is no workspace $AML_WORKSPACE_ID that you may read; correct AML_WORKSPACE_ID, or ask for the role Reader"

try=1
until az resource show --ids "$NEXTSTAGE_FUNCTION_APP_ID/functions/aml_event" --api-version 2024-04-01 \
    --output none 2>/dev/null; do
    [ "$try" -lt "$function_tries" ] ||
        fail "the app does not show its function aml_event. It stops at its start where a setting or routes.yaml is \
wrong, and says in Application Insights what: union traces, exceptions | where severityLevel >= 3 | order by timestamp desc. Mend that, \
then run 'azd deploy' again"
    say "waiting for the function aml_event ($try of $function_tries)"
    try=$((try + 1))
    sleep "$pause_seconds"
done

prefix=$(name_prefix)
find_system_topic
if [ -z "$topic_name" ]; then
    topic_name=$prefix
    topic_group=$(id_part "$AML_WORKSPACE_ID" 4)
fi
# Somebody else's is used, and left as it is.
create=false
[ "$topic_name" != "$prefix" ] || create=true

try=1
until az deployment sub create --subscription "$AZURE_SUBSCRIPTION_ID" --location "$AZURE_LOCATION" --name "$prefix" \
    --template-file "$here/../events/main.bicep" --output none --parameters \
    "workspaceId=$AML_WORKSPACE_ID" \
    "workspaceLocation=$location" \
    "systemTopicName=$topic_name" \
    "systemTopicResourceGroup=$topic_group" \
    "createSystemTopic=$create" \
    "environmentName=$AZURE_ENV_NAME" \
    "namePrefix=$prefix" \
    "resourceGroupName=$AZURE_RESOURCE_GROUP" \
    "functionAppId=$NEXTSTAGE_FUNCTION_APP_ID" \
    "storageAccountId=$NEXTSTAGE_STORAGE_ACCOUNT_ID" \
    "deadLetterContainerName=$NEXTSTAGE_DEAD_LETTER_CONTAINER" \
    "appPrincipalId=$NEXTSTAGE_IDENTITY_PRINCIPAL_ID" \
    "waits=${NEXTSTAGE_WAITS:-false}" \
    "runStatuses=${NEXTSTAGE_RUN_STATUSES:-}" \
    "actionGroupId=${NEXTSTAGE_ACTION_GROUP_ID:-}"; do
    [ "$try" -lt "$deployment_tries" ] ||
        fail "the event subscriptions could not be made; the reason is above. Mend it, then run 'azd hooks run postdeploy'"
    # A role takes minutes to reach every part of Azure, and Event Grid asks at once whether it may write dead letters.
    say "trying again, as a new role may not have arrived yet ($try of $deployment_tries)"
    try=$((try + 1))
    sleep "$pause_seconds"
done
say "events of the workspace $(id_part "$AML_WORKSPACE_ID" 8) come to $(id_part "$NEXTSTAGE_FUNCTION_APP_ID" 8) by the system topic $topic_name"
