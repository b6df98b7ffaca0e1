// Two event subscriptions to one function, which deal the five types between them: an advanced filter on a run's
// status would drop every event that has none, so the filtered type has a subscription of its own.
param systemTopicName string
param namePrefix string
param functionId string
param storageAccountId string
param deadLetterContainerName string

@description('Of RunStatusChanged only these are delivered; all where empty.')
param runStatuses array

var destination = {
  endpointType: 'AzureFunction'
  properties: {
    resourceId: functionId
    // One event, one answer: of a batch, one event that is deferred would bring all of it again.
    maxEventsPerBatch: 1
    preferredBatchSizeInKilobytes: 64
  }
}

// As long and as often as Event Grid allows: a weekend's outage is not within it, and ends in the dead letters.
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
      // A busy workspace tells of a run's every step, of which the app ignores all but the last. Event Grid compares
      // text without regard to case.
      advancedFilters: empty(runStatuses)
        ? []
        : [{ operatorType: 'StringIn', key: 'data.runStatus', values: runStatuses }]
    }
    retryPolicy: retryPolicy
    deadLetterWithResourceIdentity: deadLetters
  }
}
