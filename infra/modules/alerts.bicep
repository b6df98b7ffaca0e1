// Alerts on the app's decision records and critical messages, and on an app without functions. `manage.py connect`
// makes those on events that Event Grid could not deliver. docs/operating.md says what to do about each alert.
param location string
param tags object
param componentName string

@description('Email address for alerts; if empty, nobody is notified.')
param email string

// A rule fires if its query finds anything.
var rules = [
  {
    name: 'parked'
    displayName: 'nextstage: events were parked'
    description: 'Some events can never succeed as they are and need an operator. Run ./manage.py journal --state parked.'
    query: loadTextContent('../queries/alert-parked.kql')
    severity: 1
    window: 'PT1H'
    // It stays until a person closes it. Automatic resolution would only mean that no further event was parked.
    resolvesItself: false
  }
  {
    name: 'credential-rejected'
    displayName: 'nextstage: Azure DevOps rejects the credential'
    description: 'No run is queued until the credential or its permission is corrected. Event Grid repeats deliveries for a day.'
    query: loadTextContent('../queries/alert-credential-rejected.kql')
    severity: 1
    window: 'PT15M'
    resolvesItself: true
  }
  {
    name: 'deferrals-rising'
    displayName: 'nextstage: more and more deliveries are deferred'
    description: 'At least ten deferrals in half an hour, and more than twice the number of the previous half hour.'
    query: loadTextContent('../queries/alert-deferrals-rising.kql')
    severity: 2
    window: 'PT1H'
    resolvesItself: true
  }
  {
    name: 'orphans'
    displayName: 'nextstage: an event may have two runs'
    description: 'The app could not cancel the second run of an event, or cannot tell which run it is. Run ./manage.py journal --orphans.'
    query: loadTextContent('../queries/alert-orphans.kql')
    severity: 1
    window: 'PT1H'
    // Only a person can tell whether both runs have done their work.
    resolvesItself: false
  }
  {
    name: 'resume-late'
    displayName: 'nextstage: an event has been deferred for half an hour'
    description: 'Its cause has lasted for 30 minutes, or nothing tries the event again. Run ./manage.py resume.'
    query: loadTextContent('../queries/alert-resume-late.kql')
    severity: 2
    // An event that nothing tries again has no further records, and stays in sight for a day.
    window: 'P1D'
    resolvesItself: true
  }
  {
    name: 'resume-poison'
    displayName: 'nextstage: a resume message is poison'
    description: 'The function resume has failed on a message several times, and no longer tries it. Run ./manage.py resume --poison.'
    query: loadTextContent('../queries/alert-resume-poison.kql')
    severity: 1
    window: 'PT1H'
    // The host deletes a poison message after seven days. Nothing tells that it was put back.
    resolvesItself: false
  }
  {
    name: 'no-functions'
    displayName: 'nextstage: the app has no functions'
    description: 'The host runs, but a wrong setting or routes.yaml stops the app, and events are answered with 404. Event Grid repeats them for a day.'
    query: loadTextContent('../queries/alert-no-functions.kql')
    severity: 1
    window: 'PT15M'
    resolvesItself: true
  }
]

resource component 'Microsoft.Insights/components@2020-02-02' existing = {
  name: componentName
}

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

resource alerts 'Microsoft.Insights/scheduledQueryRules@2026-03-01' = [
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
      // Azure would run the query, and refuse the rule if the component is so new that it has no tables yet.
      skipQueryValidation: true
      scopes: [component.id]
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
      // A rule that does not resolve automatically would fire at every evaluation while the record is in its window.
      muteActionsDuration: rule.resolvesItself ? null : rule.window
      actions: { actionGroups: empty(email) ? [] : [people.id] }
    }
  }
]

output actionGroupId string = empty(email) ? '' : people.id
