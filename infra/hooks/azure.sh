# shellcheck shell=sh
# What the hooks share; they source it. Everything is asked of the Azure CLI.

fail() {
    printf 'nextstage: %s\n' "$1" >&2
    exit 1
}

say() {
    printf 'nextstage: %s\n' "$1"
}

# require_value NAME VALUE HOW-TO-SET-IT
require_value() {
    [ -n "$2" ] || fail "$1 is not set; $3"
}

require_azure_cli() {
    command -v az >/dev/null 2>&1 ||
        fail "the Azure CLI (az) is not on the PATH; install it (https://aka.ms/azure-cli), run 'az login' and try again"
    az account show --output none 2>/dev/null ||
        fail "the Azure CLI is not signed in ('azd auth login' does not count for it); run 'az login' and try again"
    # Before the first `azd provision` azd has not asked for it yet.
    [ -z "${AZURE_SUBSCRIPTION_ID:-}" ] || az account show --subscription "$AZURE_SUBSCRIPTION_ID" --output none 2>/dev/null ||
        fail "the Azure CLI may not see the subscription $AZURE_SUBSCRIPTION_ID; run 'az login' as somebody who may"
}

require_workspace() {
    require_value AML_WORKSPACE_ID "${AML_WORKSPACE_ID:-}" "run 'azd env set AML_WORKSPACE_ID <id>' with what \
'az ml workspace show -g <group> -n <name> --query id -o tsv' says"
    printf '%s\n' "$AML_WORKSPACE_ID" | grep -Eiq \
        '^/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft\.MachineLearningServices/workspaces/[^/]+$' ||
        fail "AML_WORKSPACE_ID is not the resource id of an Azure ML workspace: $AML_WORKSPACE_ID; it has the form \
/subscriptions/<id>/resourceGroups/<group>/providers/Microsoft.MachineLearningServices/workspaces/<name>"
}

# id_part ID NUMBER: a segment of a resource id; 2 is the subscription, 4 the resource group, 8 the name.
id_part() {
    printf '%s\n' "$1" | cut -d / -f "$(($2 + 1))"
}

# What the event subscriptions and our system topic are named: letters, digits and hyphens, as Event Grid allows. The
# environment's subscription is in it, so that a "dev" of somebody else at the same workspace is not taken for ours.
name_prefix() {
    printf 'nextstage-%s-%s\n' "$(printf '%s' "$AZURE_ENV_NAME" | tr -c 'A-Za-z0-9' '-' | cut -c 1-30)" \
        "$(printf '%s\n' "$AZURE_SUBSCRIPTION_ID" | cut -c 1-8)"
}

# Sets topic_name, topic_group and topic_identity to the workspace's system topic, its resource group and the object id of
# its system-assigned identity; empty where there is none. A source can have only one.
find_system_topic() {
    topics=$(az eventgrid system-topic list --subscription "$(id_part "$AML_WORKSPACE_ID" 2)" \
        --query '[].[source, name, resourceGroup, identity.principalId]' --output tsv) ||
        fail "the Event Grid system topics of the workspace's subscription cannot be listed; ask for the role EventGrid \
Contributor on the workspace's resource group"
    # Resource ids are equal whatever their case; az writes None for null.
    topic=$(printf '%s\n' "$topics" | awk -F '\t' -v wanted="$AML_WORKSPACE_ID" '
        tolower($1) == tolower(wanted) { print $2 "\t" $3 "\t" ($4 == "None" ? "" : $4); exit }')
    # shellcheck disable=SC2034  # the hooks read them
    {
        topic_name=$(printf '%s\n' "$topic" | cut -f 1)
        topic_group=$(printf '%s\n' "$topic" | cut -f 2)
        topic_identity=$(printf '%s\n' "$topic" | cut -f 3)
    }
}
