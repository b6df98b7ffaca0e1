# Before `azd provision`: what the postdeploy hook will need, found missing while nothing has been made yet.
$ErrorActionPreference = 'Stop'
. (Join-Path $PSScriptRoot 'azure.ps1')

Assert-AzureCli
Assert-Workspace
az resource show --ids $env:AML_WORKSPACE_ID --output none 2>$null
if ($LASTEXITCODE -ne 0) {
    Fail "there is no workspace $env:AML_WORKSPACE_ID that you may read; correct AML_WORKSPACE_ID, or ask for the role Reader"
}

$topic = Find-SystemTopic
if ($topic -and -not $topic.identity) {
    Fail ("the workspace's Event Grid system topic $($topic.name) has no identity to write dead letters with; give it one: " +
        "az eventgrid system-topic update --subscription $(Get-IdPart $env:AML_WORKSPACE_ID 2) " +
        "--resource-group $($topic.resourceGroup) --name $($topic.name) --identity systemassigned")
}
Say "the Azure CLI is signed in and sees the workspace $(Get-IdPart $env:AML_WORKSPACE_ID 8)"
