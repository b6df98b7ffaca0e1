// The resource group of nextstage and everything in it. `azd provision` deploys it.
//
// This template must not use another resource group: `azd down` deletes every group that contains a resource of this
// deployment, even if the group existed before. `manage.py connect` makes the resources next to the Azure ML workspace.
//
// Names are made here, and modules refer to resources by name. So `azd provision --preview` can tell which resources
// and roles a change affects: it cannot follow names that only the deployment knows.
targetScope = 'subscription'

@description('Name of the azd environment, from which all resource names are derived.')
@minLength(1)
@maxLength(64)
param environmentName string

@description('Region of all resources. It must offer Flex Consumption (az functionapp list-flexconsumption-locations).')
@minLength(1)
param location string

@description('What the deployment must withstand: dev, production or private. docs/deploying.md lists the differences.')
@allowed(['dev', 'production', 'private'])
param profile string = 'dev'

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

@description('Resource id of the Azure ML workspace in which waits look for a run by default.')
param amlWorkspaceId string = ''

@description('Resource ids of all Azure ML workspaces whose runs pipelines wait for, separated by commas.')
param amlWorkspaceIds string = ''

@description('True to create an Event Grid topic to which the app publishes queued runs, parked events and deferred deliveries.')
param notificationTopic bool = false

@description('Email address for alerts; if empty, nobody is notified.')
param alertEmail string = ''

@description('Object id of the group, user or service principal that operates the app with manage.py; if empty, the principal that deploys this template.')
param operatorPrincipalId string = ''

@description('Type of the operator, if operatorPrincipalId is set.')
@allowed(['Group', 'ServicePrincipal', 'User'])
param operatorPrincipalType string = 'Group'

@description('Type of the principal that deploys this template: User or ServicePrincipal. azd sets it.')
param deployerPrincipalType string = ''

@allowed(['3.12', '3.13'])
param pythonVersion string = '3.13'

@description('Number of instances that are always running and billed by the hour; if not set, the profile\'s.')
@minValue(0)
@maxValue(20)
param alwaysReadyInstances int?

@description('Additional application settings: variables that routes.yaml uses, or other values for settings of this template.')
param additionalSettings object = {}

@description('Resource id of a Log Analytics workspace that exists; if empty, the deployment has its own.')
param logWorkspaceId string = ''

@description('Retention of logs in days, if the Log Analytics workspace is the deployment\'s own; if not set, the profile\'s.')
@minValue(30)
@maxValue(730)
param logRetentionDays int?

@description('Redundancy of the storage accounts; if not set, the profile\'s. Standard_ZRS survives the loss of a zone.')
@allowed(['Standard_LRS', 'Standard_ZRS', 'Standard_GRS', 'Standard_GZRS'])
param storageSku string?

@description('In the profile private: public IPv4 addresses or ranges that may reach the app, its deployment endpoint, the journal, the dead letters and the Key Vault, separated by commas.')
param allowedIps string = ''

@description('In the profile private: the address range of the virtual network, a /24 or larger.')
param networkPrefix string = '10.118.0.0/24'

@description('In the profile private: resource id of a NAT gateway that exists, whose address the app then has; if empty, Azure chooses the address.')
param natGatewayId string = ''

@description('From which the names of the app\'s role assignments are derived. An output of the previous deployment.')
param roleSeed string = ''

@description('Object id of the app\'s identity. An output of the previous deployment.')
param identityPrincipalId string = ''

var profiles = {
  dev: { storageSku: 'Standard_LRS', logRetentionDays: 90, alwaysReadyInstances: 0 }
  production: { storageSku: 'Standard_ZRS', logRetentionDays: 365, alwaysReadyInstances: 1 }
  private: { storageSku: 'Standard_ZRS', logRetentionDays: 365, alwaysReadyInstances: 1 }
}
// Whether there is a lock on the journal, and logs of who has read or changed secrets and data.
var isGuarded = profile != 'dev'
var isPrivate = profile == 'private'
var needsKeyVault = azureDevOpsAuth == 'pat' || waits

var token = toLower(uniqueString(subscription().id, environmentName, location))
var tags = { 'azd-env-name': environmentName }
var names = {
  identity: 'id-nextstage-${token}'
  journalAccount: 'st${token}'
  hostAccount: 'sthost${token}'
  logWorkspace: 'log-nextstage-${token}'
  component: 'appi-nextstage-${token}'
  keyVault: 'kv-${token}'
  topic: 'evgt-nextstage-${token}'
  plan: 'plan-nextstage-${token}'
  app: 'func-nextstage-${token}'
  network: 'vnet-nextstage-${token}'
}

// Version 0.1.0 derived these names from the identity's object id. Azure refuses a second assignment of the same role
// under another name, so an environment from then, which knows that id but no seed, keeps its names.
var appRoleSeed = !empty(roleSeed) ? roleSeed : !empty(identityPrincipalId) ? identityPrincipalId : names.identity

// Both the app and its host have this name as a setting. The host adds -poison for messages that fail.
var resumeQueueName = 'nextstage-resume'

var operatorId = empty(operatorPrincipalId) ? deployer().objectId : operatorPrincipalId
// azd knows the type. Without azd: only users have a user principal name.
var deployerType = !empty(deployerPrincipalType)
  ? deployerPrincipalType
  : empty(deployer().userPrincipalName) ? 'ServicePrincipal' : 'User'
var operatorType = empty(operatorPrincipalId) ? deployerType : operatorPrincipalType

var allowedAddresses = isPrivate
  ? map(filter(split(allowedIps, ','), address => !empty(trim(address))), address => trim(address))
  : []

resource group 'Microsoft.Resources/resourceGroups@2025-04-01' = {
  name: 'rg-${environmentName}'
  location: location
  tags: tags
}

module identity 'modules/identity.bicep' = {
  name: 'identity'
  scope: group
  params: { name: names.identity, location: location, tags: tags }
}

module monitoring 'modules/monitoring.bicep' = {
  name: 'monitoring'
  scope: group
  dependsOn: [identity]
  params: {
    workspaceId: logWorkspaceId
    workspaceName: names.logWorkspace
    componentName: names.component
    location: location
    tags: tags
    retentionDays: logRetentionDays ?? profiles[profile].logRetentionDays
    identityName: names.identity
    roleSeed: appRoleSeed
  }
}

module storage 'modules/storage.bicep' = {
  name: 'storage'
  scope: group
  dependsOn: [identity]
  params: {
    journalAccountName: names.journalAccount
    hostAccountName: names.hostAccount
    location: location
    tags: tags
    skuName: storageSku ?? profiles[profile].storageSku
    isGuarded: isGuarded
    isPrivate: isPrivate
    resumeQueueName: resumeQueueName
    allowedAddresses: allowedAddresses
    logWorkspaceId: monitoring.outputs.workspaceId
    identityName: names.identity
    roleSeed: appRoleSeed
    operatorPrincipalId: operatorId
    operatorPrincipalType: operatorType
  }
}

module keyVault 'modules/key-vault.bicep' = if (needsKeyVault) {
  name: 'key-vault'
  scope: group
  dependsOn: [identity]
  params: {
    name: names.keyVault
    location: location
    tags: tags
    isGuarded: isGuarded
    isPrivate: isPrivate
    allowedAddresses: allowedAddresses
    logWorkspaceId: monitoring.outputs.workspaceId
    identityName: names.identity
    roleSeed: appRoleSeed
    operatorPrincipalId: operatorId
    operatorPrincipalType: operatorType
  }
}

module topic 'modules/notification-topic.bicep' = if (notificationTopic) {
  name: 'notification-topic'
  scope: group
  dependsOn: [identity]
  params: {
    name: names.topic
    location: location
    tags: tags
    isGuarded: isGuarded
    isPrivate: isPrivate
    logWorkspaceId: monitoring.outputs.workspaceId
    identityName: names.identity
    roleSeed: appRoleSeed
  }
}

// What the app reaches through the virtual network, and the DNS zones in which it finds the private addresses. The app
// has no private address itself: Flex Consumption with one cannot be deployed to (Azure/Azure-Functions, issue 2635).
var storageServices = ['blob', 'queue', 'table']
var storageAccounts = [names.journalAccount, names.hostAccount]
var storageEndpoints = [
  for i in range(0, 6): {
    resourceType: 'Microsoft.Storage/storageAccounts'
    resourceName: storageAccounts[i % 2]
    service: storageServices[i / 2]
    zone: 'privatelink.${storageServices[i / 2]}.${environment().suffixes.storage}'
  }
]
var keyVaultEndpoint = {
  resourceType: 'Microsoft.KeyVault/vaults'
  resourceName: names.keyVault
  service: 'vault'
  zone: 'privatelink${replace(environment().suffixes.keyvaultDns, '.vault.', '.vaultcore.')}'
}
// environment() does not tell these.
var eventGridDomains = {
  AzureCloud: 'eventgrid.azure.net'
  AzureUSGovernment: 'eventgrid.azure.us'
  AzureChinaCloud: 'eventgrid.azure.cn'
}
var topicEndpoint = {
  resourceType: 'Microsoft.EventGrid/topics'
  resourceName: names.topic
  service: 'topic'
  zone: 'privatelink.${eventGridDomains[environment().name]}'
}
var endpoints = concat(
  storageEndpoints,
  needsKeyVault ? [keyVaultEndpoint] : [],
  notificationTopic ? [topicEndpoint] : []
)

module network 'modules/network.bicep' = if (isPrivate) {
  name: 'network'
  scope: group
  params: {
    name: names.network
    location: location
    tags: tags
    prefix: networkPrefix
    natGatewayId: natGatewayId
    // Without repetitions.
    zoneNames: union(map(endpoints, endpoint => endpoint.zone), [])
  }
}

// No two of the same account at the same time, which can end with StorageAccountOperationInProgress. Source: Azure Functions
// docs, tutorial on private endpoints.
@batchSize(2)
module privateEndpoints 'modules/private-endpoint.bicep' = [
  for endpoint in (isPrivate ? endpoints : []): {
    name: 'endpoint-${endpoint.resourceName}-${endpoint.service}'
    scope: group
    dependsOn: [network, storage, keyVault, topic]
    params: { endpoint: endpoint, location: location, tags: tags, networkName: names.network }
  }
]

module app 'modules/function-app.bicep' = {
  name: 'function-app'
  scope: group
  // The app reads its package from storage when it starts, so it needs the roles and the way there before.
  dependsOn: [identity, monitoring, storage, network, privateEndpoints]
  params: {
    name: names.app
    planName: names.plan
    location: location
    tags: union(tags, { 'azd-service-name': 'app' })
    identityName: names.identity
    hostAccountName: names.hostAccount
    journalAccountName: names.journalAccount
    resumeQueueName: resumeQueueName
    componentName: names.component
    keyVaultUrl: needsKeyVault ? keyVault!.outputs.url : ''
    notificationTopicEndpoint: notificationTopic ? topic!.outputs.endpoint : ''
    networkName: isPrivate ? names.network : ''
    allowedAddresses: allowedAddresses
    waits: waits
    waitClientId: waitClientId
    amlWorkspaceId: amlWorkspaceId
    amlWorkspaceIds: amlWorkspaceIds
    azureDevOpsOrgUrl: azureDevOpsOrgUrl
    azureDevOpsProject: azureDevOpsProject
    azureDevOpsAuth: azureDevOpsAuth
    pythonVersion: pythonVersion
    alwaysReadyInstances: alwaysReadyInstances ?? profiles[profile].alwaysReadyInstances
    additionalSettings: additionalSettings
  }
}

module alerts 'modules/alerts.bicep' = {
  name: 'alerts'
  scope: group
  dependsOn: [monitoring]
  params: { location: location, tags: tags, componentName: names.component, email: alertEmail }
}

module workbook 'modules/workbook.bicep' = {
  name: 'workbook'
  scope: group
  dependsOn: [monitoring]
  params: { location: location, tags: tags, componentName: names.component }
}

// azd stores these outputs in its environment, for `manage.py connect` and for `azd env get-values`.
output AZURE_RESOURCE_GROUP string = group.name
output NEXTSTAGE_FUNCTION_APP_ID string = app.outputs.id
output NEXTSTAGE_FUNCTION_APP_NAME string = names.app
output NEXTSTAGE_IDENTITY_NAME string = names.identity
output NEXTSTAGE_IDENTITY_CLIENT_ID string = identity.outputs.clientId
output NEXTSTAGE_IDENTITY_PRINCIPAL_ID string = identity.outputs.principalId
output NEXTSTAGE_ROLE_SEED string = appRoleSeed
output NEXTSTAGE_STORAGE_ACCOUNT_ID string = storage.outputs.id
output NEXTSTAGE_STORAGE_ACCOUNT_NAME string = names.journalAccount
output NEXTSTAGE_DEAD_LETTER_CONTAINER string = storage.outputs.deadLetterContainerName
output NEXTSTAGE_DEAD_LETTER_URL string = '${storage.outputs.blobEndpoint}${storage.outputs.deadLetterContainerName}'
output NEXTSTAGE_ACTION_GROUP_ID string = alerts.outputs.actionGroupId
// The Log Analytics workspace that gets the deliveries that fail of the topics that `manage.py connect` makes.
output NEXTSTAGE_DELIVERY_LOG_WORKSPACE_ID string = isGuarded ? monitoring.outputs.workspaceId : ''
output NEXTSTAGE_KEY_VAULT_NAME string = needsKeyVault ? names.keyVault : ''
output NEXTSTAGE_NOTIFICATION_TOPIC_NAME string = notificationTopic ? names.topic : ''
output NEXTSTAGE_NOTIFICATION_TOPIC_ENDPOINT string = notificationTopic ? topic!.outputs.endpoint : ''
// The settings that manage.py reads.
output JOURNAL_CONNECTION string = storage.outputs.tableEndpoint
output RESUME_STORAGE__queueServiceUri string = storage.outputs.queueEndpoint
