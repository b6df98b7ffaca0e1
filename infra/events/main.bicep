// Delivers the workspace's events to the app, and lets the app read the workspace. The postdeploy hook deploys this
// template, not azd: some resources are in the workspace's resource group, which `azd down` must not delete.
targetScope = 'subscription'

@description('Resource id of the Azure ML workspace.')
param workspaceId string

@description('Region of the workspace. Its system topic must be in the same region.')
param workspaceLocation string

@description('Name of the workspace\'s system topic. A workspace can have only one.')
param systemTopicName string

@description('Resource group of the system topic.')
param systemTopicResourceGroup string

@description('False if the workspace already has a system topic from another deployment. It is then used and not changed.')
param createSystemTopic bool

@description('Name of the azd environment.')
param environmentName string

@description('Prefix of the names of the event subscriptions.')
@maxLength(50)
param namePrefix string

@description('Resource group of the app.')
param resourceGroupName string

param functionAppId string
param storageAccountId string
param deadLetterContainerName string

@description('Object id of the managed identity of the app.')
param appPrincipalId string

@description('True if pipelines may wait for runs. The app then gets the role to read them.')
param waits bool

@description('Comma-separated run statuses. Only RunStatusChanged events with these statuses are delivered; if empty, all.')
param runStatuses string

@description('Resource id of the action group for alerts; if empty, nobody is notified.')
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
  // Event Grid checks the access to the dead-letter container when a subscription is created.
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
