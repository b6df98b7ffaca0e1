// Alerts on events that Event Grid could not deliver. They use Event Grid's metrics, which exist even if the app does
// not start and logs nothing. docs/operating.md says what to do about each alert.
//
// The metrics count all subscriptions of the topic. A filter by subscription name would be exact if others use the
// topic too, but it never matches if Event Grid spells the name in a different case. An alert that never fires is
// worse.
param tags object
param systemTopicId string
param actionGroupId string

var rules = [
  {
    name: 'dead-letters'
    description: 'Events were not delivered within a day and are in the dead-letter container. Run ./manage.py redrive --dead-letters.'
    metric: 'DeadLetteredCount'
    severity: 1
    threshold: 0
    window: 'PT5M'
  }
  {
    name: 'events-dropped'
    description: 'Events were neither delivered nor stored as dead letters, so they are lost. Check the role on the dead-letter container.'
    metric: 'DroppedEventCount'
    severity: 0
    threshold: 0
    window: 'PT5M'
  }
  {
    name: 'deliveries-fail'
    description: 'Many deliveries fail: the app does not start, or it defers most deliveries.'
    metric: 'DeliveryAttemptFailCount'
    severity: 2
    threshold: 20
    window: 'PT30M'
  }
]

resource alerts 'Microsoft.Insights/metricAlerts@2018-03-01' = [
  for rule in rules: {
    name: 'nextstage-${rule.name}'
    location: 'global'
    tags: tags
    properties: {
      description: rule.description
      severity: rule.severity
      enabled: true
      scopes: [systemTopicId]
      evaluationFrequency: 'PT5M'
      windowSize: rule.window
      criteria: {
        'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
        allOf: [
          {
            criterionType: 'StaticThresholdCriterion'
            name: 'too-many'
            metricNamespace: 'Microsoft.EventGrid/systemTopics'
            metricName: rule.metric
            operator: 'GreaterThan'
            threshold: rule.threshold
            timeAggregation: 'Total'
          }
        ]
      }
      autoMitigate: true
      actions: empty(actionGroupId) ? [] : [{ actionGroupId: actionGroupId }]
    }
  }
]
