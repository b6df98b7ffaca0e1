// What brings the workspace's events to the app, and lets the app look at the workspace. The postdeploy hook deploys it,
// beside azd: parts of it are in the workspace's resource group, which `azd down` must not know of.
targetScope = 'subscription'

@description('Resource id of the Azure ML workspace.')
param workspaceId string

@description('Region of the workspace, which its system topic must be in, too.')
param workspaceLocation string

@description('The workspace\'s system topic. A source can have only one.')
param systemTopicName string

@description('The resource group of the system topic.')
param systemTopicResourceGroup string

@description('False where somebody else\'s system topic is there already; it is used, and left as it is.')
param createSystemTopic bool

@description('Name of the azd environment.')
param environmentName string

@description('What the names of the event subscriptions begin with.')
@maxLength(50)
param namePrefix string

@description('The app\'s resource group.')
param resourceGroupName string

param functionAppId string
param storageAccountId string
param deadLetterContainerName string

@description('Object id of the app\'s managed identity.')
param appPrincipalId string

@description('Whether pipelines may wait for runs, so that the app must be able to look at them.')
param waits bool

@description('Comma-separated statuses: of RunStatusChanged only these are delivered; all where empty.')
param runStatuses string

@description('Told when an alert fires; nobody where empty.')
param actionGroupId string

var tags = { 'azd-env-name': environmentName }
var workspaceSubscription = split(workspaceId, '/')[2]

module topic 'system-topic.bicep' = if (createSystemTopic) {
  name: '${namePrefix}-topic'
  scope: resourceGroup(workspaceSubscription, systemTopicResourceGroup)
  params: { name: systemTopicName, location: workspaceLocation, tags: tags, workspaceId: workspaceId }
}

module topicIdentity 'system-topic-identity.bicep' = {
  name: '${namePrefix}-identity'
  scope: resourceGroup(workspaceSubscription, systemTopicResourceGroup)
  dependsOn: [topic]
  params: { name: systemTopicName }
}

module deadLetters 'dead-letter-role.bicep' = {
  name: 'nextstage-dead-letter-role'
  scope: resourceGroup(resourceGroupName)
  params: {
    storageAccountName: last(split(storageAccountId, '/'))
    containerName: deadLetterContainerName
    topicPrincipalId: topicIdentity.outputs.principalId
  }
}

module subscriptions 'subscriptions.bicep' = {
  name: '${namePrefix}-events'
  scope: resourceGroup(workspaceSubscription, systemTopicResourceGroup)
  // Event Grid looks at once whether it may write dead letters.
  dependsOn: [deadLetters]
  params: {
    systemTopicName: systemTopicName
    namePrefix: namePrefix
    functionId: '${functionAppId}/functions/aml_event'
    storageAccountId: storageAccountId
    deadLetterContainerName: deadLetterContainerName
    runStatuses: empty(runStatuses) ? [] : split(runStatuses, ',')
  }
}

module workspaceReader 'workspace-reader.bicep' = if (waits) {
  name: '${namePrefix}-reader'
  scope: resourceGroup(workspaceSubscription, split(workspaceId, '/')[4])
  params: { workspaceName: last(split(workspaceId, '/')), appPrincipalId: appPrincipalId }
}

module alerts 'alerts.bicep' = {
  name: 'nextstage-event-alerts'
  scope: resourceGroup(resourceGroupName)
  params: {
    tags: tags
    systemTopicId: topicIdentity.outputs.id
    actionGroupId: actionGroupId
  }
}
