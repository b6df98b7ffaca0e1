// The function app on Flex Consumption, with all its settings.
param name string
param planName string
param location string
param tags object
param identityId string
param identityClientId string
param storageAccountName string
param packageContainerName string
param componentName string

@description('Empty if there is no Key Vault.')
param keyVaultUrl string

@description('Empty if the app sends no notifications.')
param notificationTopicEndpoint string

param waits bool

@description('Client id of the application whose tokens tasks may send in place of a function key; if empty, only keys are accepted.')
param waitClientId string

@description('Resource id of the Azure ML workspace whose runs pipelines wait for.')
param amlWorkspaceId string

param azureDevOpsOrgUrl string
param azureDevOpsProject string
param azureDevOpsAuth string
param pythonVersion string
param alwaysReadyInstances int
param additionalSettings object

resource account 'Microsoft.Storage/storageAccounts@2025-06-01' existing = {
  name: storageAccountName
}

resource component 'Microsoft.Insights/components@2020-02-02' existing = {
  name: componentName
}

resource plan 'Microsoft.Web/serverfarms@2024-04-01' = {
  name: planName
  location: location
  tags: tags
  kind: 'functionapp'
  sku: { tier: 'FlexConsumption', name: 'FC1' }
  properties: { reserved: true }
}

resource app 'Microsoft.Web/sites@2024-04-01' = {
  name: name
  location: location
  tags: tags
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: { '${identityId}': {} }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    siteConfig: { minTlsVersion: '1.2' }
    functionAppConfig: {
      deployment: {
        storage: {
          type: 'blobContainer'
          value: '${account.properties.primaryEndpoints.blob}${packageContainerName}'
          authentication: { type: 'UserAssignedIdentity', userAssignedIdentityResourceId: identityId }
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
        // None by default: a cold start takes seconds, and Event Grid waits 30 s and then repeats the delivery. Set
        // alwaysReadyInstances to avoid cold starts, at a cost.
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
resource signIn 'Microsoft.Web/sites/config@2024-04-01' = if (waits && !empty(waitClientId)) {
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
resource noFtpPassword 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-04-01' = {
  parent: app
  name: 'ftp'
  properties: { allow: false }
}

resource noScmPassword 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-04-01' = {
  parent: app
  name: 'scm'
  properties: { allow: false }
}

resource settings 'Microsoft.Web/sites/config@2024-04-01' = {
  parent: app
  name: 'appsettings'
  properties: union(hostSettings, isolation, appSettings, vaultSettings, patSettings, notificationSettings, waitSettings, additionalSettings)
}

// Settings of the host. Those of the runtime and the worker are in functionAppConfig, as Flex Consumption requires.
var hostSettings = {
  // Endpoints instead of the account name, from which the host would derive endpoints in the public cloud.
  AzureWebJobsStorage__blobServiceUri: account.properties.primaryEndpoints.blob
  AzureWebJobsStorage__queueServiceUri: account.properties.primaryEndpoints.queue
  AzureWebJobsStorage__tableServiceUri: account.properties.primaryEndpoints.table
  AzureWebJobsStorage__credential: 'managedidentity'
  AzureWebJobsStorage__clientId: identityClientId
  APPLICATIONINSIGHTS_CONNECTION_STRING: component.properties.ConnectionString
  APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${identityClientId};Authorization=AAD'
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
  AZURE_CLIENT_ID: identityClientId
  AZURE_CLOUD: environment().name
  JOURNAL_CONNECTION: account.properties.primaryEndpoints.table
  JOURNAL_LEASE_SECONDS: '60'
  DELIVERY_BUDGET_SECONDS: '25'
  JOURNAL_SETTLE_SECONDS: '120'
  JOURNAL_RETENTION_DAYS: '90'
  ROUTES_FILE: 'routes.yaml'
  // A delivery mostly waits for Azure DevOps, so an instance can serve one delivery per thread at the same time. Without
  // this setting, the host starts 1000 threads.
  PYTHON_THREADPOOL_THREAD_COUNT: '32'
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
      AML_WORKSPACE_ID: amlWorkspaceId
      WAIT_CLIENT_IDS: waitClientId
    }
  : {}

output id string = app.id
output name string = app.name
