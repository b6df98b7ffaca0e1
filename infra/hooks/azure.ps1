# What the hooks share; they dot-source it. The same as azure.sh.

function Fail([string] $Message) {
    [Console]::Error.WriteLine("nextstage: $Message")
    exit 1
}

function Say([string] $Message) {
    Write-Output "nextstage: $Message"
}

function Get-Value([string] $Name) {
    [Environment]::GetEnvironmentVariable($Name)
}

function Assert-Value([string] $Name, [string] $HowToSetIt) {
    if (-not (Get-Value $Name)) { Fail "$Name is not set; $HowToSetIt" }
}

function Assert-AzureCli {
    if (-not (Get-Command az -ErrorAction SilentlyContinue)) {
        Fail "the Azure CLI (az) is not on the PATH; install it (https://aka.ms/azure-cli), run 'az login' and try again"
    }
    az account show --output none 2>$null
    if ($LASTEXITCODE -ne 0) {
        Fail "the Azure CLI is not signed in ('azd auth login' does not count for it); run 'az login' and try again"
    }
    # Before the first `azd provision` azd has not asked for it yet.
    if ($env:AZURE_SUBSCRIPTION_ID) {
        az account show --subscription $env:AZURE_SUBSCRIPTION_ID --output none 2>$null
        if ($LASTEXITCODE -ne 0) {
            Fail "the Azure CLI may not see the subscription $env:AZURE_SUBSCRIPTION_ID; run 'az login' as somebody who may"
        }
    }
}

function Assert-Workspace {
    Assert-Value AML_WORKSPACE_ID ("run 'azd env set AML_WORKSPACE_ID <id>' with what " +
        "'az ml workspace show -g <group> -n <name> --query id -o tsv' says")
    $form = '^/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft\.MachineLearningServices/workspaces/[^/]+$'
    if ($env:AML_WORKSPACE_ID -notmatch $form) {
        Fail ("AML_WORKSPACE_ID is not the resource id of an Azure ML workspace: $env:AML_WORKSPACE_ID; it has the form " +
            '/subscriptions/<id>/resourceGroups/<group>/providers/Microsoft.MachineLearningServices/workspaces/<name>')
    }
}

# A segment of a resource id; 2 is the subscription, 4 the resource group, 8 the name.
function Get-IdPart([string] $Id, [int] $Number) {
    $Id.Split('/')[$Number]
}

# What the event subscriptions and our system topic are named: letters, digits and hyphens, as Event Grid allows. The
# environment's subscription is in it, so that a "dev" of somebody else at the same workspace is not taken for ours.
function Get-NamePrefix {
    $environment = $env:AZURE_ENV_NAME -creplace '[^A-Za-z0-9]', '-'
    $environment = $environment.Substring(0, [Math]::Min(30, $environment.Length))
    'nextstage-{0}-{1}' -f $environment, $env:AZURE_SUBSCRIPTION_ID.Substring(0, 8)
}

# The workspace's system topic: name, resourceGroup and identity, the object id of its system-assigned identity; null
# where there is none. A source can have only one.
function Find-SystemTopic {
    $listed = az eventgrid system-topic list --subscription (Get-IdPart $env:AML_WORKSPACE_ID 2) `
        --query '[].{source: source, name: name, resourceGroup: resourceGroup, identity: identity.principalId}' --output json
    if ($LASTEXITCODE -ne 0) {
        Fail ("the Event Grid system topics of the workspace's subscription cannot be listed; ask for the role EventGrid " +
            "Contributor on the workspace's resource group")
    }
    # Resource ids are equal whatever their case, and so -eq takes them.
    ($listed | Out-String | ConvertFrom-Json) | Where-Object { $_.source -eq $env:AML_WORKSPACE_ID } | Select-Object -First 1
}
