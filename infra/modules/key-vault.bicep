// Created only if there is a secret to store: a PAT, or the keys that encrypt wait tokens. Operators store the secrets
// (docs/azure-devops-setup.md), so no secret is in a file, a parameter or an application setting.
param name string
param location string
param tags object
param isGuarded bool
param isPrivate bool

@description('Public addresses that may reach the vault, if isPrivate.')
param allowedAddresses array

param logWorkspaceId string
param identityName string
param roleSeed string
param operatorPrincipalId string
param operatorPrincipalType string

var keyVaultSecretsUser = '4633458b-17de-408a-b874-0445c86b69e6'
var keyVaultSecretsOfficer = 'b86a8fe4-44ce-4948-aee5-eccb2c155cd7'

resource vault 'Microsoft.KeyVault/vaults@2026-02-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    tenantId: tenant().tenantId
    sku: { family: 'A', name: 'standard' }
    enableRbacAuthorization: true
    enableSoftDelete: true
    softDeleteRetentionInDays: 7
    enablePurgeProtection: true
    publicNetworkAccess: isPrivate && empty(allowedAddresses) ? 'Disabled' : 'Enabled'
    networkAcls: {
      bypass: 'AzureServices'
      defaultAction: isPrivate ? 'Deny' : 'Allow'
      ipRules: map(allowedAddresses, address => { value: address })
    }
  }
}

resource audit 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = if (isGuarded) {
  scope: vault
  name: 'nextstage'
  properties: {
    workspaceId: logWorkspaceId
    logs: [
      { categoryGroup: 'audit', enabled: true }
    ]
  }
}

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' existing = {
  name: identityName
}

// Key Vault Secrets User: the app can read secrets, but cannot list or change them.
resource appReadsSecrets 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: vault
  name: guid(vault.id, roleSeed, 'Key Vault Secrets User')
  properties: {
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', keyVaultSecretsUser)
  }
}

// Key Vault Secrets Officer: operators store and rotate the secrets.
resource operatorWritesSecrets 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: vault
  name: guid(vault.id, operatorPrincipalId, 'Key Vault Secrets Officer')
  properties: {
    principalId: operatorPrincipalId
    principalType: operatorPrincipalType
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', keyVaultSecretsOfficer)
  }
}

output url string = vault.properties.vaultUri
