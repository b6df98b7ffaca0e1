// The resource group of nextstage and everything in it. `azd provision` deploys it.
//
// This template must not use another resource group: `azd down` deletes every group that contains a resource of this
// deployment, even if the group existed before. The resources next to the Azure ML workspace are in events/main.bicep,
// which the postdeploy hook deploys.
targetScope = 'subscription'

@description('Name of the azd environment, from which all resource names are derived.')
@minLength(1)
@maxLength(64)
param environmentName string

@description('Region of all resources. It must offer Flex Consumption (az functionapp list-flexconsumption-locations).')
@minLength(1)
param location string

@description('URL of the Azure DevOps organization, https://dev.azure.com/<organization>, or of a collection of Azure DevOps Server.')
@minLength(1)
param azureDevOpsOrgUrl string

@description('Azure DevOps project with the pipelines.')
@minLength(1)
param azureDevOpsProject string

@description('identity: tokens of the app\'s managed identity. pat: a personal access token in Key Vault.')
@allowed(['identity', 'pat'])
param azureDevOpsAuth string = 'identity'

@description('True if pipelines may wait for Azure ML runs. Creates a Key Vault for the keys that encrypt tokens.')
param waits bool = false

@description('Client id of the application of the service connection with which AzureFunction@2 registers waits; if empty, a function key is needed.')
param waitClientId string = ''

@description('Resource id of the Azure ML workspace.')
@minLength(1)
param amlWorkspaceId string

@description('True to create an Event Grid topic to which the app publishes queued runs, parked events and deferred deliveries.')
param notificationTopic bool = false

@description('Email address for alerts; if empty, nobody is notified.')
param alertEmail string = ''

@description('Object id of the group or user that operates the app with manage.py; if empty, nobody gets access.')
param operatorPrincipalId string = ''

@allowed(['Group', 'ServicePrincipal', 'User'])
param operatorPrincipalType string = 'Group'

@allowed(['3.12', '3.13'])
param pythonVersion string = '3.13'

@description('Number of instances that are always running and billed by the hour.')
@minValue(0)
@maxValue(20)
param alwaysReadyInstances int = 0

@description('Additional application settings: variables that routes.yaml uses, or other values for settings of this template.')
param additionalSettings object = {}

@description('Retention of logs in days.')
@minValue(30)
@maxValue(730)
param logRetentionDays int = 90

@description('Redundancy of the storage account with the journal. Standard_ZRS survives the loss of a zone.')
@allowed(['Standard_LRS', 'Standard_ZRS', 'Standard_GRS', 'Standard_GZRS'])
param storageSku string = 'Standard_LRS'

var token = toLower(uniqueString(subscription().id, environmentName, location))
var tags = { 'azd-env-name': environmentName }
var needsKeyVault = azureDevOpsAuth == 'pat' || waits

resource group 'Microsoft.Resources/resourceGroups@2024-11-01' = {
  name: 'rg-${environmentName}'
  location: location
  tags: tags
}

module identity 'modules/identity.bicep' = {
  name: 'identity'
  scope: group
  params: { name: 'id-nextstage-${token}', location: location, tags: tags }
}

module storage 'modules/storage.bicep' = {
  name: 'storage'
  scope: group
  params: { name: 'st${token}', location: location, tags: tags, skuName: storageSku }
}

module monitoring 'modules/monitoring.bicep' = {
  name: 'monitoring'
  scope: group
  params: {
    workspaceName: 'log-nextstage-${token}'
    componentName: 'appi-nextstage-${token}'
    location: location
    tags: tags
    retentionDays: logRetentionDays
  }
}

module keyVault 'modules/key-vault.bicep' = if (needsKeyVault) {
  name: 'key-vault'
  scope: group
  params: {
    name: 'kv-${token}'
    location: location
    tags: tags
    appPrincipalId: identity.outputs.principalId
    operatorPrincipalId: operatorPrincipalId
    operatorPrincipalType: operatorPrincipalType
  }
}

module topic 'modules/notification-topic.bicep' = if (notificationTopic) {
  name: 'notification-topic'
  scope: group
  params: {
    name: 'evgt-nextstage-${token}'
    location: location
    tags: tags
    appPrincipalId: identity.outputs.principalId
  }
}

module roles 'modules/roles.bicep' = {
  name: 'roles'
  scope: group
  params: {
    storageAccountName: storage.outputs.name
    deadLetterContainerName: storage.outputs.deadLetterContainerName
    componentName: monitoring.outputs.componentName
    appPrincipalId: identity.outputs.principalId
    operatorPrincipalId: operatorPrincipalId
    operatorPrincipalType: operatorPrincipalType
  }
}

module app 'modules/function-app.bicep' = {
  name: 'function-app'
  scope: group
  // The app reads its package from storage when it starts, so it needs the roles before.
  dependsOn: [roles]
  params: {
    name: 'func-nextstage-${token}'
    planName: 'plan-nextstage-${token}'
    location: location
    tags: union(tags, { 'azd-service-name': 'app' })
    identityId: identity.outputs.id
    identityClientId: identity.outputs.clientId
    storageAccountName: storage.outputs.name
    packageContainerName: storage.outputs.packageContainerName
    componentName: monitoring.outputs.componentName
    keyVaultUrl: needsKeyVault ? keyVault!.outputs.url : ''
    notificationTopicEndpoint: notificationTopic ? topic!.outputs.endpoint : ''
    waits: waits
    waitClientId: waitClientId
    amlWorkspaceId: amlWorkspaceId
    azureDevOpsOrgUrl: azureDevOpsOrgUrl
    azureDevOpsProject: azureDevOpsProject
    azureDevOpsAuth: azureDevOpsAuth
    pythonVersion: pythonVersion
    alwaysReadyInstances: alwaysReadyInstances
    additionalSettings: additionalSettings
  }
}

module alerts 'modules/alerts.bicep' = {
  name: 'alerts'
  scope: group
  params: {
    location: location
    tags: tags
    componentId: monitoring.outputs.componentId
    email: alertEmail
  }
}

module workbook 'modules/workbook.bicep' = {
  name: 'workbook'
  scope: group
  params: { location: location, tags: tags, componentId: monitoring.outputs.componentId }
}

// azd stores these outputs in its environment, for the hooks and for `azd env get-values`.
output AZURE_RESOURCE_GROUP string = group.name
output NEXTSTAGE_FUNCTION_APP_ID string = app.outputs.id
output NEXTSTAGE_FUNCTION_APP_NAME string = app.outputs.name
output NEXTSTAGE_IDENTITY_NAME string = identity.outputs.name
output NEXTSTAGE_IDENTITY_CLIENT_ID string = identity.outputs.clientId
output NEXTSTAGE_IDENTITY_PRINCIPAL_ID string = identity.outputs.principalId
output NEXTSTAGE_STORAGE_ACCOUNT_ID string = storage.outputs.id
output NEXTSTAGE_STORAGE_ACCOUNT_NAME string = storage.outputs.name
output NEXTSTAGE_DEAD_LETTER_CONTAINER string = storage.outputs.deadLetterContainerName
output NEXTSTAGE_DEAD_LETTER_URL string = '${storage.outputs.blobEndpoint}${storage.outputs.deadLetterContainerName}'
output NEXTSTAGE_ACTION_GROUP_ID string = alerts.outputs.actionGroupId
output NEXTSTAGE_KEY_VAULT_NAME string = needsKeyVault ? keyVault!.outputs.name : ''
output NEXTSTAGE_NOTIFICATION_TOPIC_NAME string = notificationTopic ? topic!.outputs.name : ''
output NEXTSTAGE_NOTIFICATION_TOPIC_ENDPOINT string = notificationTopic ? topic!.outputs.endpoint : ''
// The setting that manage.py reads.
output JOURNAL_CONNECTION string = storage.outputs.tableEndpoint
