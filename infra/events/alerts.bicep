// What Event Grid itself could not deliver, by its own metrics: they tell of it even where the app does not start and
// logs nothing. What to do about each: docs/operating.md.
//
// They count all subscriptions of the topic. To name ours would be right where it serves others too; but a name that
// Event Grid spells in another case would be an alert that never fires, which is worse than one that fires for others.
param tags object
param systemTopicId string
param actionGroupId string

var rules = [
  {
    name: 'dead-letters'
    description: 'Events were not delivered within a day and lie in the dead-letter container: python manage.py redrive --dead-letters'
    metric: 'DeadLetteredCount'
    severity: 1
    threshold: 0
    window: 'PT5M'
  }
  {
    name: 'events-dropped'
    description: 'Events were neither delivered nor kept as dead letters: they are lost. Look at the role on the container.'
    metric: 'DroppedEventCount'
    severity: 0
    threshold: 0
    window: 'PT5M'
  }
  {
    name: 'deliveries-fail'
    description: 'Many deliveries fail: the app does not start, or defers nearly everything.'
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
