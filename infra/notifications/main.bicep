// Posts the app's notifications to a chat channel: Event Grid puts them into a queue, and a Logic App posts each one to
// the webhook of the channel. No handshake is needed, and only managed identities sign in. docs/notifications.md shows
// the commands. azd does not deploy this template.
//
// The files next to this one: workflow.json is the Logic App, words.json has a title and an advice for each type of
// notification, teams.json and slack.json are the messages.
@description('Name of the notification topic. It must be in this resource group, and have a system-assigned identity.')
@minLength(1)
param topicName string

@description('Name of the storage account for the queue, in this resource group. The app\'s own account will do.')
@minLength(1)
param storageAccountName string

@description('The format of the messages.')
@allowed(['teams', 'slack'])
param chat string

@description('URL of the webhook: of a Teams workflow, or an incoming webhook of Slack. All who have it can post.')
@secure()
@minLength(1)
param webhookUrl string

@description('Names the resources. Choose another name for each further channel.')
@minLength(1)
@maxLength(40)
param name string = chat

@description('Types of the notifications that are posted. Deferrals can be many.')
param eventTypes array = ['nextstage.event.parked', 'nextstage.run.queued']

@description('Post the notifications of this route only; if empty, of all routes.')
param route string = ''

param location string = resourceGroup().location

var queueDataMessageSender = 'c6a89b2d-59bc-44d0-9896-0f6e12d7b80a'
var queueDataMessageProcessor = '8a0f0c08-91a1-4084-bc3d-661d67233fed'

// A message that cannot be posted is tried again for a day.
var messageLifetimeSeconds = 86400

var bodies = {
  teams: loadJsonContent('teams.json')
  slack: loadJsonContent('slack.json')
}
var workflow = loadJsonContent('workflow.json')

resource topic 'Microsoft.EventGrid/topics@2025-02-15' existing = {
  name: topicName
}

resource account 'Microsoft.Storage/storageAccounts@2026-04-01' existing = {
  name: storageAccountName

  resource queues 'queueServices' existing = {
    name: 'default'
  }
}

resource queue 'Microsoft.Storage/storageAccounts/queueServices/queues@2026-04-01' = {
  parent: account::queues
  name: 'nextstage-${name}'
}

// Storage Queue Data Message Sender: the topic can only add messages to this queue.
resource topicSends 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: queue
  name: guid(queue.id, topic.id, queueDataMessageSender)
  properties: {
    principalId: topic.identity.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', queueDataMessageSender)
  }
}

resource subscription 'Microsoft.EventGrid/topics/eventSubscriptions@2025-02-15' = {
  parent: topic
  name: 'nextstage-${name}'
  dependsOn: [topicSends]
  properties: {
    eventDeliverySchema: 'CloudEventSchemaV1_0'
    filter: {
      includedEventTypes: eventTypes
      subjectBeginsWith: empty(route) ? '' : 'routes/${route}/'
    }
    deliveryWithResourceIdentity: {
      identity: { type: 'SystemAssigned' }
      destination: {
        endpointType: 'StorageQueue'
        properties: {
          resourceId: account.id
          queueName: queue.name
          queueMessageTimeToLiveInSeconds: messageLifetimeSeconds
        }
      }
    }
  }
}

resource connection 'Microsoft.Web/connections@2016-06-01' = {
  name: 'nextstage-${name}'
  location: location
  properties: {
    displayName: 'nextstage-${name}'
    api: { id: subscriptionResourceId('Microsoft.Web/locations/managedApis', location, 'azurequeues') }
    // Missing from Microsoft's types. It lets the Logic App sign in with its identity.
    #disable-next-line BCP037 BCP089
    parameterValueSet: { name: 'managedIdentityAuth', values: {} }
  }
}

resource logicApp 'Microsoft.Logic/workflows@2019-05-01' = {
  name: 'logic-nextstage-${name}'
  location: location
  identity: { type: 'SystemAssigned' }
  properties: {
    definition: union(workflow, { actions: { Post: { inputs: { body: bodies[chat] } } } })
    parameters: {
      '$connections': {
        value: {
          azurequeues: {
            id: subscriptionResourceId('Microsoft.Web/locations/managedApis', location, 'azurequeues')
            connectionId: connection.id
            connectionName: connection.name
            connectionProperties: { authentication: { type: 'ManagedServiceIdentity' } }
          }
        }
      }
      storageAccount: { value: account.name }
      queue: { value: queue.name }
      words: { value: loadJsonContent('words.json') }
      webhookUrl: { value: webhookUrl }
    }
  }
}

// Storage Queue Data Message Processor: the Logic App can read and delete the messages of this queue.
resource logicAppReads 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: queue
  name: guid(queue.id, logicApp.id, queueDataMessageProcessor)
  properties: {
    principalId: logicApp.identity.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', queueDataMessageProcessor)
  }
}

output logicAppName string = logicApp.name
