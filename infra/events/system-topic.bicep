// The workspace's events. In the workspace's resource group, where Event Grid makes such topics by itself, too.
param name string
param location string
param tags object
param workspaceId string

resource topic 'Microsoft.EventGrid/systemTopics@2025-02-15' = {
  name: name
  location: location
  tags: tags
  // Writes dead letters: the storage account takes no keys.
  identity: { type: 'SystemAssigned' }
  properties: {
    source: workspaceId
    topicType: 'Microsoft.MachineLearningServices.Workspaces'
  }
}
