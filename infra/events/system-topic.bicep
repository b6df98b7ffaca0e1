// The system topic with the workspace's events. It is in the workspace's resource group, where Event Grid would create
// it automatically.
param name string
param location string
param tags object
param workspaceId string

resource topic 'Microsoft.EventGrid/systemTopics@2025-02-15' = {
  name: name
  location: location
  tags: tags
  // For writing dead letters, because the storage account does not accept keys.
  identity: { type: 'SystemAssigned' }
  properties: {
    source: workspaceId
    topicType: 'Microsoft.MachineLearningServices.Workspaces'
  }
}
