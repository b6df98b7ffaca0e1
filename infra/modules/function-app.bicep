// The function app on Flex Consumption, with all its settings.
param name string
param planName string
param location string
param tags object
param identityName string

@description('Name of the storage account of the host and of the package.')
param hostAccountName string

@description('Name of the storage account with the journal.')
param journalAccountName string

@description('Name of the queue of deferred events, in the same account.')
param resumeQueueName string

param componentName string

@description('Empty if there is no Key Vault.')
param keyVaultUrl string

@description('Empty if the app sends no notifications.')
param notificationTopicEndpoint string

@description('Name of the virtual network through which the app calls; if empty, the app is open and calls from anywhere.')
param networkName string

@description('Public addresses that may reach the app and its deployment endpoint, if there is a network.')
param allowedAddresses array

param waits bool

@description('Client id of the application whose tokens tasks may send in place of a function key; if empty, only keys are accepted.')
param waitClientId string

@description('Resource id of the Azure ML workspace in which waits look for a run by default; may be empty.')
param amlWorkspaceId string

@description('Resource ids of all workspaces whose runs pipelines wait for, separated by commas; may be empty.')
param amlWorkspaceIds string

param azureDevOpsOrgUrl string
param azureDevOpsProject string
param azureDevOpsAuth string
param pythonVersion string
param alwaysReadyInstances int
param additionalSettings object

// How many deliveries an instance serves at the same time: one per thread of its worker.
var threads = 32

// Who may call the app if it has a network. Event Grid delivers from public addresses and to public addresses only.
// Tasks without an agent call from addresses of Azure DevOps.
var callers = concat(
  [{ name: 'event-grid', tag: 'ServiceTag', ipAddress: 'AzureEventGrid' }],
  waits ? [{ name: 'azure-devops', tag: 'ServiceTag', ipAddress: 'AzureDevOps' }] : [],
  people
)
var people = [
  for (address, i) in allowedAddresses: {
    name: 'allowed-${i}'
    tag: 'Default'
    ipAddress: contains(address, '/') ? address : '${address}/32'
  }
]
var access = empty(networkName) ? 'Allow' : 'Deny'

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' existing = {
  name: identityName
}

resource hostAccount 'Microsoft.Storage/storageAccounts@2026-04-01' existing = {
  name: hostAccountName

  resource blobs 'blobServices' existing = {
    name: 'default'

    resource packages 'containers' existing = {
      name: 'app-package'
    }
  }
}

resource journalAccount 'Microsoft.Storage/storageAccounts@2026-04-01' existing = {
  name: journalAccountName
}

resource component 'Microsoft.Insights/components@2020-02-02' existing = {
  name: componentName
}

resource plan 'Microsoft.Web/serverfarms@2025-03-01' = {
  name: planName
  location: location
  tags: tags
  kind: 'functionapp'
  sku: { tier: 'FlexConsumption', name: 'FC1' }
  properties: { reserved: true }
}

resource app 'Microsoft.Web/sites@2025-03-01' = {
  name: name
  location: location
  tags: tags
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: { '${identity.id}': {} }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    // The app stays reachable, since Event Grid cannot deliver to a private address. The rules below say for whom.
    publicNetworkAccess: 'Enabled'
    virtualNetworkSubnetId: empty(networkName)
      ? null
      : resourceId('Microsoft.Network/virtualNetworks/subnets', networkName, 'app')
    siteConfig: {
      minTlsVersion: '1.2'
      ipSecurityRestrictionsDefaultAction: access
      ipSecurityRestrictions: [
        for (caller, i) in (empty(networkName) ? [] : callers): { ...caller, priority: 100 + i, action: 'Allow' }
      ]
      // The deployment endpoint. azd, the Azure CLI and pipelines upload the package to it, with a token.
      scmIpSecurityRestrictionsUseMain: false
      scmIpSecurityRestrictionsDefaultAction: access
      scmIpSecurityRestrictions: [
        for (caller, i) in (empty(networkName) ? [] : people): { ...caller, priority: 100 + i, action: 'Allow' }
      ]
    }
    functionAppConfig: {
      deployment: {
        storage: {
          type: 'blobContainer'
          value: '${hostAccount.properties.primaryEndpoints.blob}${hostAccount::blobs::packages.name}'
          authentication: { type: 'UserAssignedIdentity', userAssignedIdentityResourceId: identity.id }
        }
      }
      runtime: { name: 'python', version: pythonVersion }
      scaleAndConcurrency: {
        // The default size. A delivery mostly waits for Azure DevOps and needs little memory, but a smaller instance
        // also has less CPU and starts more slowly.
        instanceMemoryMB: 2048
        // The minimum in every region, and more than enough: 40 instances of 32 threads can send more requests than
        // Azure DevOps accepts from one identity. Event Grid repeats deliveries that are throttled.
        maximumInstanceCount: 40
        // The default for Python is 1: each waiting task, and each delivery if Azure scales the Event Grid trigger like
        // HTTP triggers, would start an instance. Whether it does is not documented, and not proven here.
        triggers: { http: { perInstanceConcurrency: threads } }
        // Without one, a cold start takes seconds, and an event that comes before the host has its keys is repeated
        // after minutes. The group of an Event Grid trigger is its function.
        alwaysReady: alwaysReadyInstances == 0
          ? []
          : [{ name: 'function:aml_event', instanceCount: alwaysReadyInstances }]
      }
    }
  }
}

// Checks the Microsoft Entra tokens of tasks that register waits, and tells the app who called. It lets requests without
// a token pass, and the host then checks their keys as before: those of Event Grid, of pipelines with a function key,
// and those to /admin. The app refuses the callers of /api/entra/waits that have not signed in.
resource signIn 'Microsoft.Web/sites/config@2025-03-01' = if (waits && !empty(waitClientId)) {
  parent: app
  name: 'authsettingsV2'
  properties: {
    platform: { enabled: true }
    globalValidation: { requireAuthentication: false, unauthenticatedClientAction: 'AllowAnonymous' }
    httpSettings: { requireHttps: true }
    login: { tokenStore: { enabled: false } }
    identityProviders: {
      azureActiveDirectory: {
        enabled: true
        // Tokens of version 2 have the client id as their audience.
        registration: {
          clientId: waitClientId
          openIdIssuer: '${environment().authentication.loginEndpoint}${tenant().tenantId}/v2.0'
        }
        validation: {
          allowedAudiences: [waitClientId, 'api://${waitClientId}']
          // Without this, every application of the tenant could sign in.
          defaultAuthorizationPolicy: { allowedApplications: [waitClientId] }
        }
      }
    }
  }
}

// Deployments use Microsoft Entra. A publishing password would be an unnecessary secret.
resource noFtpPassword 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2025-03-01' = {
  parent: app
  name: 'ftp'
  // Missing from Microsoft's types, but Azure expects it. Source: Azure/bicep-types-az, issue 1526.
  #disable-next-line BCP037 BCP187
  location: location
  properties: { allow: false }
}

resource noScmPassword 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2025-03-01' = {
  parent: app
  name: 'scm'
  // Missing from Microsoft's types, but Azure expects it. Source: Azure/bicep-types-az, issue 1526.
  #disable-next-line BCP037 BCP187
  location: location
  properties: { allow: false }
}

resource settings 'Microsoft.Web/sites/config@2025-03-01' = {
  parent: app
  name: 'appsettings'
  properties: union(
    hostSettings,
    isolation,
    appSettings,
    vaultSettings,
    patSettings,
    notificationSettings,
    waitSettings,
    additionalSettings
  )
}

// Settings of the host. Those of the runtime and the worker are in functionAppConfig, as Flex Consumption requires.
var hostSettings = {
  // Endpoints instead of the account name, from which the host would derive endpoints in the public cloud.
  AzureWebJobsStorage__blobServiceUri: hostAccount.properties.primaryEndpoints.blob
  AzureWebJobsStorage__queueServiceUri: hostAccount.properties.primaryEndpoints.queue
  AzureWebJobsStorage__tableServiceUri: hostAccount.properties.primaryEndpoints.table
  AzureWebJobsStorage__credential: 'managedidentity'
  AzureWebJobsStorage__clientId: identity.properties.clientId
  APPLICATIONINSIGHTS_CONNECTION_STRING: component.properties.ConnectionString
  APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${identity.properties.clientId};Authorization=AAD'
  // By default, the host's exporter keeps five traces per second and drops the log records of all others, including
  // decision records.
  OTEL_TRACES_SAMPLER: 'microsoft.fixed_percentage'
  OTEL_TRACES_SAMPLER_ARG: '1'
}

// Up to Python 3.12, the worker shares its packages with the app unless this is set.
var isolation = pythonVersion == '3.12' ? { PYTHON_ISOLATE_WORKER_DEPENDENCIES: '1' } : {}

// Settings of the app: docs/settings.md. Defaults are repeated here, where they are easy to change.
var appSettings = {
  AZURE_DEVOPS_ORG_URL: azureDevOpsOrgUrl
  AZURE_DEVOPS_PROJECT: azureDevOpsProject
  AZURE_DEVOPS_AUTH: azureDevOpsAuth
  AZURE_DEVOPS_API_VERSION: '7.1'
  AZURE_CLIENT_ID: identity.properties.clientId
  AZURE_CLOUD: environment().name
  JOURNAL_CONNECTION: journalAccount.properties.primaryEndpoints.table
  JOURNAL_LEASE_SECONDS: '60'
  DELIVERY_BUDGET_SECONDS: '25'
  JOURNAL_SETTLE_SECONDS: '120'
  JOURNAL_RETENTION_DAYS: '90'
  // With this name, the host finds the queue too. It needs the two settings of the identity besides the address.
  RESUME_STORAGE__queueServiceUri: journalAccount.properties.primaryEndpoints.queue
  RESUME_STORAGE__credential: 'managedidentity'
  RESUME_STORAGE__clientId: identity.properties.clientId
  RESUME_QUEUE: resumeQueueName
  RESUME_GIVE_UP_HOURS: '168'
  ROUTES_FILE: 'routes.yaml'
  // A delivery mostly waits for Azure DevOps, so an instance can serve one delivery per thread at the same time.
  // Without this setting, the host starts 1000 threads.
  PYTHON_THREADPOOL_THREAD_COUNT: string(threads)
}

var vaultSettings = !empty(keyVaultUrl) ? { KEY_VAULT_URL: keyVaultUrl } : {}
var patSettings = azureDevOpsAuth == 'pat' ? { AZURE_DEVOPS_PAT_SECRET_NAME: 'azure-devops-pat' } : {}
var notificationSettings = !empty(notificationTopicEndpoint) ? { NOTIFY_TOPIC_ENDPOINT: notificationTopicEndpoint } : {}

// The keys themselves are a secret, which operators store in the Key Vault. If tasks also come from an Azure DevOps
// Server, set its host in additionalSettings.
var waitSettings = waits
  ? {
      WAIT_TOKEN_KEYS_SECRET_NAME: 'wait-token-keys'
      WAIT_SWEEP_AFTER_MINUTES: '30'
      WAIT_TIMEOUT_HOURS: '72'
      WAIT_LIMIT_PER_ORGANIZATION: '2000'
      WAIT_LIMIT_PER_PLAN: '100'
      AML_WORKSPACE_ID: amlWorkspaceId
      AML_WORKSPACE_IDS: amlWorkspaceIds
      WAIT_CLIENT_IDS: waitClientId
    }
  : {}

output id string = app.id
