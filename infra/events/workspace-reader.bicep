// Reader, on this one workspace: the app looks whether a run that a pipeline waits for has ended. AzureML Data
// Scientist could start runs. A role of our own that only reads jobs would be less still, but to make one takes the
// right to define roles, which who deploys need not have otherwise. Reader shows no key and no data.
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
