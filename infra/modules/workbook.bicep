// The workbook with charts of the app's decisions: Application Insights > Workbooks > nextstage.
param location string
param tags object
param componentName string

var charts = [
  {
    title: 'Decisions by event and outcome'
    query: loadTextContent('../queries/decisions.kql')
    visualization: 'timechart'
  }
  {
    title: 'Parked events (including those redriven since)'
    query: loadTextContent('../queries/parked.kql')
    visualization: 'table'
  }
  {
    title: 'Delivery delay: seconds from the event to its queued run'
    query: loadTextContent('../queries/delivery-delay.kql')
    visualization: 'timechart'
  }
  {
    title: 'Deferrals by cause'
    query: loadTextContent('../queries/deferrals.kql')
    visualization: 'timechart'
  }
  {
    title: 'Deferred events: how many, and the age of the oldest in minutes'
    query: loadTextContent('../queries/resume.kql')
    visualization: 'timechart'
  }
  {
    title: 'Throttled by Azure DevOps'
    query: loadTextContent('../queries/throttling.kql')
    visualization: 'timechart'
  }
  {
    title: 'Duration of a delivery in seconds'
    query: loadTextContent('../queries/duration.kql')
    visualization: 'timechart'
  }
  {
    title: 'Queued runs'
    query: loadTextContent('../queries/runs.kql')
    visualization: 'table'
  }
]

var timeRange = {
  type: 9
  name: 'time range'
  content: {
    version: 'KqlParameterItem/1.0'
    style: 'pills'
    queryType: 0
    resourceType: 'microsoft.insights/components'
    parameters: [
      {
        id: guid('nextstage', 'TimeRange')
        version: 'KqlParameterItem/1.0'
        name: 'TimeRange'
        label: 'Time range'
        type: 4
        isRequired: true
        value: { durationMs: 86400000 }
        typeSettings: {
          selectableValues: [
            { durationMs: 3600000 }
            { durationMs: 14400000 }
            { durationMs: 86400000 }
            { durationMs: 604800000 }
            { durationMs: 2592000000 }
          ]
          allowCustom: true
        }
      }
    ]
  }
}

var items = [
  for chart in charts: {
    type: 3
    name: chart.title
    content: {
      version: 'KqlItem/1.0'
      title: chart.title
      query: chart.query
      size: 0
      timeContextFromParameter: 'TimeRange'
      queryType: 0
      resourceType: 'microsoft.insights/components'
      visualization: chart.visualization
    }
  }
]

resource component 'Microsoft.Insights/components@2020-02-02' existing = {
  name: componentName
}

resource workbook 'Microsoft.Insights/workbooks@2023-06-01' = {
  name: guid(resourceGroup().id, 'nextstage')
  location: location
  tags: tags
  kind: 'shared'
  properties: {
    displayName: 'nextstage'
    category: 'workbook'
    sourceId: component.id
    serializedData: string({
      version: 'Notebook/1.0'
      items: concat([timeRange], items)
      fallbackResourceIds: [component.id]
    })
  }
}

output id string = workbook.id
