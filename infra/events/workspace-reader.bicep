// Reader on this workspace only: the app reads whether a run that a pipeline waits for has ended. AzureML Data
// Scientist would also allow starting runs. A custom role that only reads jobs would be narrower, but creating one
// needs the permission to define roles. Reader gives access neither to keys nor to data.
param workspaceName string
param appPrincipalId string

var reader = 'acdd72a7-3385-48ef-bd42-f606fba81ae7'

resource workspace 'Microsoft.MachineLearningServices/workspaces@2025-12-01' existing = {
  name: workspaceName
}

resource appReadsRuns 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: workspace
  name: guid(workspace.id, appPrincipalId, reader)
  properties: {
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', reader)
  }
}
