#!/bin/sh
# Before `azd provision`: what the postdeploy hook will need, found missing while nothing has been made yet.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=azure.sh
. "$here/azure.sh"

require_azure_cli
require_workspace
az resource show --ids "$AML_WORKSPACE_ID" --output none 2>/dev/null ||
    fail "there is no workspace $AML_WORKSPACE_ID that you may read; correct AML_WORKSPACE_ID, or ask for the role Reader"

find_system_topic
if [ -n "$topic_name" ] && [ -z "$topic_identity" ]; then
    fail "the workspace's Event Grid system topic $topic_name has no identity to write dead letters with; give it one: \
az eventgrid system-topic update --subscription $(id_part "$AML_WORKSPACE_ID" 2) --resource-group $topic_group \
--name $topic_name --identity systemassigned"
fi
say "the Azure CLI is signed in and sees the workspace $(id_part "$AML_WORKSPACE_ID" 8)"
