// Two storage accounts: one with the journal, the resume queue and the dead letters, which cannot be made again, and one
// for the host, with its keys, its leases and the deployed package. Access with account keys is disabled; identities have roles.
param journalAccountName string
param hostAccountName string
param location string
param tags object
param skuName string
param isGuarded bool
param isPrivate bool

@description('Name of the queue of deferred events.')
param resumeQueueName string

@description('Public addresses that may reach the journal and the dead letters, if isPrivate.')
param allowedAddresses array

param logWorkspaceId string
param identityName string
param roleSeed string
param operatorPrincipalId string
param operatorPrincipalType string

var storageBlobDataOwner = 'b7e6dc6d-f1e8-4753-8033-0f276bb0955b'
var storageBlobDataReader = '2a2b9908-6ea1-4ae2-8e65-a410df84e7d1'
var storageQueueDataContributor = '974c5e8b-45b9-4653-ba55-915f855fc88b'
var storageTableDataContributor = '0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3'

// What both accounts have in common.
var secure = {
  allowSharedKeyAccess: false
  allowBlobPublicAccess: false
  allowCrossTenantReplication: false
  defaultToOAuthAuthentication: true
  minimumTlsVersion: 'TLS1_2'
  supportsHttpsTrafficOnly: true
  networkAcls: {
    // Event Grid writes dead letters as a trusted service, with the topic's system-assigned identity.
    bypass: 'AzureServices'
    defaultAction: isPrivate ? 'Deny' : 'Allow'
    // Storage takes single addresses without a length.
    ipRules: map(allowedAddresses, address => { action: 'Allow', value: replace(address, '/32', '') })
  }
}

// It has the name of the only account that version 0.1.0 had, so that an existing journal stays where it is.
resource journalAccount 'Microsoft.Storage/storageAccounts@2026-04-01' = {
  name: journalAccountName
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: { name: skuName }
  // Even if private: 'Disabled' would override the network rules.
  properties: { ...secure, publicNetworkAccess: 'Enabled' }

  resource blobs 'blobServices' = {
    name: 'default'
    properties: {
      // A deleted dead letter can be restored for a week.
      deleteRetentionPolicy: { enabled: true, days: 7 }
    }

    // Events that Event Grid could not deliver within a day, for `manage.py redrive --dead-letters`. They are never
    // deleted automatically.
    resource deadLetters 'containers' = {
      name: 'dead-letters'
    }
  }

  resource tables 'tableServices' = {
    name: 'default'

    // Without this, the app would create the table when it handles the first event, which would take longer.
    resource journal 'tables' = {
      name: 'nextstagejournal'
    }
  }

  resource queues 'queueServices' = {
    name: 'default'

    // A message for each deferred record.
    resource resume 'queues' = {
      name: resumeQueueName
    }

    // Where the host puts messages that the function could not handle.
    resource poison 'queues' = {
      name: '${resumeQueueName}-poison'
    }
  }
}

resource hostAccount 'Microsoft.Storage/storageAccounts@2026-04-01' = {
  name: hostAccountName
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: { name: skuName }
  // Only the app and its host use it.
  properties: { ...secure, publicNetworkAccess: isPrivate ? 'Disabled' : 'Enabled' }

  resource blobs 'blobServices' = {
    name: 'default'

    resource packages 'containers' = {
      name: 'app-package'
    }
  }
}

resource journalLock 'Microsoft.Authorization/locks@2020-05-01' = if (isGuarded) {
  scope: journalAccount
  name: 'nextstage-journal'
  properties: {
    level: 'CanNotDelete'
    notes: 'Holds the journal of nextstage. Without it, events that are delivered again queue their runs again.'
  }
}

resource journalReads 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = if (isGuarded) {
  scope: journalAccount::tables
  name: 'nextstage'
  properties: {
    workspaceId: logWorkspaceId
    logs: [
      { category: 'StorageRead', enabled: true }
      { category: 'StorageWrite', enabled: true }
      { category: 'StorageDelete', enabled: true }
    ]
  }
}

resource deadLetterReads 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = if (isGuarded) {
  scope: journalAccount::blobs
  name: 'nextstage'
  properties: {
    workspaceId: logWorkspaceId
    logs: [
      { category: 'StorageRead', enabled: true }
      { category: 'StorageWrite', enabled: true }
      { category: 'StorageDelete', enabled: true }
    ]
  }
}

// Who has changed the package. The host reads its own blobs too often for a log of reads to be of use.
resource hostWrites 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = if (isGuarded) {
  scope: hostAccount::blobs
  name: 'nextstage'
  properties: {
    workspaceId: logWorkspaceId
    logs: [
      { category: 'StorageWrite', enabled: true }
      { category: 'StorageDelete', enabled: true }
    ]
  }
}

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' existing = {
  name: identityName
}

// Storage Blob Data Owner, as the documentation of the host requires. The host stores leases, keys and the state of
// timers as blobs in containers that it creates, and the package is a blob too. The app's triggers need no queue here.
resource appOwnsBlobs 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: hostAccount
  name: guid(hostAccount.id, roleSeed, storageBlobDataOwner)
  properties: {
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', storageBlobDataOwner)
  }
}

// Storage Table Data Contributor, for the tables that the host creates for its diagnostic events.
resource hostWritesTables 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: hostAccount
  name: guid(hostAccount.id, roleSeed, storageTableDataContributor)
  properties: {
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', storageTableDataContributor)
  }
}

// Storage Table Data Contributor, for the journal. The app has no access to dead letters.
resource appWritesJournal 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: journalAccount
  name: guid(journalAccount.id, roleSeed, storageTableDataContributor)
  properties: {
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', storageTableDataContributor)
  }
}

// Storage Queue Data Contributor, on this queue only: the app writes, moves and removes messages, and the host takes them.
resource appResumes 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: journalAccount::queues::resume
  name: guid(journalAccount::queues::resume.id, roleSeed, storageQueueDataContributor)
  properties: {
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', storageQueueDataContributor)
  }
}

// Storage Queue Data Contributor: the host makes the queue if it is missing, and writes messages.
resource hostPutsAside 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: journalAccount::queues::poison
  name: guid(journalAccount::queues::poison.id, roleSeed, storageQueueDataContributor)
  properties: {
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', storageQueueDataContributor)
  }
}

// Storage Queue Data Contributor: `manage.py resume` lists messages, and writes some that are due now.
resource operatorResumes 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: journalAccount::queues::resume
  name: guid(journalAccount::queues::resume.id, operatorPrincipalId, storageQueueDataContributor)
  properties: {
    principalId: operatorPrincipalId
    principalType: operatorPrincipalType
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', storageQueueDataContributor)
  }
}

// Storage Queue Data Contributor: `manage.py resume --poison` lists messages and puts them back.
resource operatorPutsBack 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: journalAccount::queues::poison
  name: guid(journalAccount::queues::poison.id, operatorPrincipalId, storageQueueDataContributor)
  properties: {
    principalId: operatorPrincipalId
    principalType: operatorPrincipalType
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', storageQueueDataContributor)
  }
}

// Storage Table Data Contributor: `manage.py journal` and `redrive` read and write the journal.
resource operatorWritesTables 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: journalAccount
  name: guid(journalAccount.id, operatorPrincipalId, storageTableDataContributor)
  properties: {
    principalId: operatorPrincipalId
    principalType: operatorPrincipalType
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', storageTableDataContributor)
  }
}

// Storage Blob Data Reader, on this container only: `manage.py redrive --dead-letters` reads dead letters.
resource operatorReadsDeadLetters 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: journalAccount::blobs::deadLetters
  name: guid(journalAccount::blobs::deadLetters.id, operatorPrincipalId, storageBlobDataReader)
  properties: {
    principalId: operatorPrincipalId
    principalType: operatorPrincipalType
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', storageBlobDataReader)
  }
}

output id string = journalAccount.id
output blobEndpoint string = journalAccount.properties.primaryEndpoints.blob
output queueEndpoint string = journalAccount.properties.primaryEndpoints.queue
output tableEndpoint string = journalAccount.properties.primaryEndpoints.table
output deadLetterContainerName string = journalAccount::blobs::deadLetters.name
