// What somebody should hear of, from the app's own decisions. What Event Grid itself gives up is in
// ../events/alerts.bicep. What to do about each: docs/operating.md.
param location string
param tags object
param componentId string

@description('Who gets a mail; nobody where empty.')
param email string

// One rule: it fires where its query finds anything.
var rules = [
  {
    name: 'parked'
    displayName: 'nextstage: events were parked'
    description: 'An event can never succeed as it is and waits for a person: python manage.py journal --state parked'
    query: loadTextContent('../queries/alert-parked.kql')
    severity: 1
    window: 'PT1H'
    // It stays until somebody closes it: "resolved" would only mean that nothing new was parked.
    resolvesItself: false
  }
  {
    name: 'credential-rejected'
    displayName: 'nextstage: Azure DevOps takes the credential no more'
    description: 'Nothing is queued until the credential or its permission is mended; Event Grid comes back for a day.'
    query: loadTextContent('../queries/alert-credential-rejected.kql')
    severity: 1
    window: 'PT15M'
    resolvesItself: true
  }
  {
    name: 'deferrals-rising'
    displayName: 'nextstage: more and more deliveries are deferred'
    description: 'Half an hour with at least ten deferrals, and more than twice those of the half hour before.'
    query: loadTextContent('../queries/alert-deferrals-rising.kql')
    severity: 2
    window: 'PT1H'
    resolvesItself: true
  }
]

resource people 'Microsoft.Insights/actionGroups@2023-01-01' = if (!empty(email)) {
  name: 'nextstage'
  location: 'global'
  tags: tags
  properties: {
    groupShortName: 'nextstage'
    enabled: true
    emailReceivers: [{ name: 'operators', emailAddress: email, useCommonAlertSchema: true }]
  }
}

resource alerts 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = [
  for rule in rules: {
    name: 'nextstage-${rule.name}'
    location: location
    tags: tags
    kind: 'LogAlert'
    properties: {
      displayName: rule.displayName
      description: rule.description
      severity: rule.severity
      enabled: true
      scopes: [componentId]
      evaluationFrequency: 'PT5M'
      windowSize: rule.window
      criteria: {
        allOf: [
          {
            query: rule.query
            timeAggregation: 'Count'
            operator: 'GreaterThan'
            threshold: 0
            failingPeriods: { numberOfEvaluationPeriods: 1, minFailingPeriodsToAlert: 1 }
          }
        ]
      }
      autoMitigate: rule.resolvesItself
      // One that does not resolve by itself would fire at every look while the window holds the same record.
      muteActionsDuration: rule.resolvesItself ? null : rule.window
      actions: { actionGroups: empty(email) ? [] : [people.id] }
    }
  }
]

output actionGroupId string = empty(email) ? '' : people.id
