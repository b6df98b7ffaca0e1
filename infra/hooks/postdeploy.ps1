# After `azd deploy`: brings the workspace's events to the function. Running it again changes nothing.
$ErrorActionPreference = 'Stop'
. (Join-Path $PSScriptRoot 'azure.ps1')

$pauseSeconds = if ($env:NEXTSTAGE_HOOK_PAUSE_SECONDS) { [int] $env:NEXTSTAGE_HOOK_PAUSE_SECONDS } else { 15 }
$functionTries = 20
$deploymentTries = 4

Assert-AzureCli
Assert-Workspace
foreach ($name in 'AZURE_ENV_NAME', 'AZURE_SUBSCRIPTION_ID', 'AZURE_LOCATION', 'AZURE_RESOURCE_GROUP',
    'NEXTSTAGE_FUNCTION_APP_ID', 'NEXTSTAGE_STORAGE_ACCOUNT_ID', 'NEXTSTAGE_DEAD_LETTER_CONTAINER', 'NEXTSTAGE_IDENTITY_PRINCIPAL_ID') {
    Assert-Value $name "run 'azd provision' first, and this by azd"
}

$location = az resource show --ids $env:AML_WORKSPACE_ID --query location --output tsv
if ($LASTEXITCODE -ne 0) {
    Fail "there is no workspace $env:AML_WORKSPACE_ID that you may read; correct AML_WORKSPACE_ID, or ask for the role Reader"
}

for ($try = 1; ; $try++) {
    az resource show --ids "$env:NEXTSTAGE_FUNCTION_APP_ID/functions/aml_event" --api-version 2024-04-01 --output none 2>$null
    if ($LASTEXITCODE -eq 0) { break }
    if ($try -ge $functionTries) {
        Fail ('the app does not show its function aml_event. It stops at its start where a setting or routes.yaml is ' +
            'wrong, and says in Application Insights what: union traces, exceptions | where severityLevel >= 3 | order by timestamp desc. ' +
            "Mend that, then run 'azd deploy' again")
    }
    Say "waiting for the function aml_event ($try of $functionTries)"
    Start-Sleep -Seconds $pauseSeconds
}

$prefix = Get-NamePrefix
$topic = Find-SystemTopic
$topicName = if ($topic) { $topic.name } else { $prefix }
$topicGroup = if ($topic) { $topic.resourceGroup } else { Get-IdPart $env:AML_WORKSPACE_ID 4 }
# Somebody else's is used, and left as it is.
$create = if ($topicName -ceq $prefix) { 'true' } else { 'false' }
$waits = if ($env:NEXTSTAGE_WAITS) { $env:NEXTSTAGE_WAITS } else { 'false' }

for ($try = 1; ; $try++) {
    az deployment sub create --subscription $env:AZURE_SUBSCRIPTION_ID --location $env:AZURE_LOCATION --name $prefix `
        --template-file (Join-Path $PSScriptRoot '../events/main.bicep') --output none --parameters `
        "workspaceId=$env:AML_WORKSPACE_ID" `
        "workspaceLocation=$location" `
        "systemTopicName=$topicName" `
        "systemTopicResourceGroup=$topicGroup" `
        "createSystemTopic=$create" `
        "environmentName=$env:AZURE_ENV_NAME" `
        "namePrefix=$prefix" `
        "resourceGroupName=$env:AZURE_RESOURCE_GROUP" `
        "functionAppId=$env:NEXTSTAGE_FUNCTION_APP_ID" `
        "storageAccountId=$env:NEXTSTAGE_STORAGE_ACCOUNT_ID" `
        "deadLetterContainerName=$env:NEXTSTAGE_DEAD_LETTER_CONTAINER" `
        "appPrincipalId=$env:NEXTSTAGE_IDENTITY_PRINCIPAL_ID" `
        "waits=$waits" `
        "runStatuses=$env:NEXTSTAGE_RUN_STATUSES" `
        "actionGroupId=$env:NEXTSTAGE_ACTION_GROUP_ID"
    if ($LASTEXITCODE -eq 0) { break }
    if ($try -ge $deploymentTries) {
        Fail "the event subscriptions could not be made; the reason is above. Mend it, then run 'azd hooks run postdeploy'"
    }
    # A role takes minutes to reach every part of Azure, and Event Grid asks at once whether it may write dead letters.
    Say "trying again, as a new role may not have arrived yet ($try of $deploymentTries)"
    Start-Sleep -Seconds $pauseSeconds
}
Say "events of the workspace $(Get-IdPart $env:AML_WORKSPACE_ID 8) come to $(Get-IdPart $env:NEXTSTAGE_FUNCTION_APP_ID 8) by the system topic $topicName"
