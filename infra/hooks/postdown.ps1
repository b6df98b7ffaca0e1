# After `azd down`: removes what the postdeploy hook has made beside the workspace. Running it again changes nothing.
$ErrorActionPreference = 'Stop'
. (Join-Path $PSScriptRoot 'azure.ps1')

Assert-AzureCli
Assert-Workspace
Assert-Value AZURE_ENV_NAME 'run this by azd'
Assert-Value AZURE_SUBSCRIPTION_ID 'run this by azd'

$prefix = Get-NamePrefix
$topic = Find-SystemTopic
if (-not $topic) {
    Say 'the workspace has no system topic; nothing is left to remove'
    exit 0
}
$where = @('--subscription', (Get-IdPart $env:AML_WORKSPACE_ID 2), '--resource-group', $topic.resourceGroup)

$names = az eventgrid system-topic event-subscription list --query '[].name' --output tsv @where --system-topic-name $topic.name
if ($LASTEXITCODE -ne 0) {
    Fail "the event subscriptions of $($topic.name) cannot be listed; ask for the role EventGrid Contributor"
}
$others = 0
foreach ($name in @($names | Where-Object { $_ })) {
    if ($name -ceq $prefix -or $name -ceq "$prefix-run-status") {
        az eventgrid system-topic event-subscription delete --name $name --yes @where --system-topic-name $topic.name
        if ($LASTEXITCODE -ne 0) { Fail "the event subscription $name cannot be deleted; delete it by hand" }
        Say "deleted the event subscription $name"
    } else {
        $others++
    }
}

if ($topic.name -ceq $prefix -and $others -eq 0) {
    az eventgrid system-topic delete @where --name $topic.name --yes
    if ($LASTEXITCODE -ne 0) { Fail "the system topic $($topic.name) cannot be deleted; delete it by hand" }
    Say "deleted the system topic $($topic.name)"
} else {
    Say "the system topic $($topic.name) stays: it is somebody else's, or serves others"
}
