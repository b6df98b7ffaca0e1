// Two event subscriptions to one function, which share the five event types. An advanced filter on the run's status
// drops every event without a status, so the filtered type has a separate subscription.
param systemTopicName string
param namePrefix string
param functionId string
param storageAccountId string
param deadLetterContainerName string

@description('Only RunStatusChanged events with these run statuses are delivered; if empty, all.')
param runStatuses array

var destination = {
  endpointType: 'AzureFunction'
  properties: {
    resourceId: functionId
    // One event per delivery. In a batch, a single deferred event would repeat the whole batch.
    maxEventsPerBatch: 1
    preferredBatchSizeInKilobytes: 64
  }
}

// The maximum that Event Grid allows. During an outage of a whole weekend, events still become dead letters.
var retryPolicy = {
  eventTimeToLiveInMinutes: 1440
  maxDeliveryAttempts: 30
}

var deadLetters = {
  identity: { type: 'SystemAssigned' }
  deadLetterDestination: {
    endpointType: 'StorageBlob'
    properties: { resourceId: storageAccountId, blobContainerName: deadLetterContainerName }
  }
}

resource topic 'Microsoft.EventGrid/systemTopics@2025-02-15' existing = {
  name: systemTopicName
}

resource models 'Microsoft.EventGrid/systemTopics/eventSubscriptions@2025-02-15' = {
  parent: topic
  name: namePrefix
  properties: {
    destination: destination
    eventDeliverySchema: 'EventGridSchema'
    filter: {
      includedEventTypes: [
        'Microsoft.MachineLearningServices.RunCompleted'
        'Microsoft.MachineLearningServices.ModelRegistered'
        'Microsoft.MachineLearningServices.ModelDeployed'
        'Microsoft.MachineLearningServices.DatasetDriftDetected'
      ]
    }
    retryPolicy: retryPolicy
    deadLetterWithResourceIdentity: deadLetters
  }
}

resource statuses 'Microsoft.EventGrid/systemTopics/eventSubscriptions@2025-02-15' = {
  parent: topic
  name: '${namePrefix}-run-status'
  properties: {
    destination: destination
    eventDeliverySchema: 'EventGridSchema'
    filter: {
      includedEventTypes: ['Microsoft.MachineLearningServices.RunStatusChanged']
      // A workspace sends an event for every status of a run, but the app ignores all except final ones. Event Grid
      // compares strings case-insensitively.
      advancedFilters: empty(runStatuses)
        ? []
        : [{ operatorType: 'StringIn', key: 'data.runStatus', values: runStatuses }]
    }
    retryPolicy: retryPolicy
    deadLetterWithResourceIdentity: deadLetters
  }
}
