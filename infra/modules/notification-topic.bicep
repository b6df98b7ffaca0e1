// The topic to which the app publishes notifications about events. Other systems subscribe to it.
param name string
param location string
param tags object
param isGuarded bool
param isPrivate bool
param logWorkspaceId string
param identityName string
param roleSeed string

var eventGridDataSender = 'd5a91429-5739-47e2-a06b-3470a27159e7'

resource topic 'Microsoft.EventGrid/topics@2025-02-15' = {
  name: name
  location: location
  tags: tags
  // With it, the topic delivers to queues without a key. It has no role until a subscription needs one.
  identity: { type: 'SystemAssigned' }
  properties: {
    inputSchema: 'CloudEventSchemaV1_0'
    disableLocalAuth: true
    minimumTlsVersionAllowed: '1.2'
    // The app publishes through a private endpoint.
    publicNetworkAccess: isPrivate ? 'Disabled' : 'Enabled'
  }
}

resource failures 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = if (isGuarded) {
  scope: topic
  name: 'nextstage'
  properties: {
    workspaceId: logWorkspaceId
    logs: [
      { category: 'DeliveryFailures', enabled: true }
      { category: 'PublishFailures', enabled: true }
    ]
  }
}

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' existing = {
  name: identityName
}

// EventGrid Data Sender: the app can only publish to the topic.
resource appPublishes 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: topic
  name: guid(topic.id, roleSeed, 'EventGrid Data Sender')
  properties: {
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', eventGridDataSender)
  }
}

output endpoint string = topic.properties.endpoint
