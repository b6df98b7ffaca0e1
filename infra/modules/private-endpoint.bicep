// An address in the virtual network for one service of a resource, and its entry in the DNS zone of the service.
@description('resourceType and resourceName of a resource in this group, its service (group id), and the name of the DNS zone.')
param endpoint object

param location string
param tags object
param networkName string

resource zone 'Microsoft.Network/privateDnsZones@2024-06-01' existing = {
  name: endpoint.zone
}

resource address 'Microsoft.Network/privateEndpoints@2025-09-01' = {
  name: 'pe-${endpoint.resourceName}-${endpoint.service}'
  location: location
  tags: tags
  properties: {
    subnet: { id: resourceId('Microsoft.Network/virtualNetworks/subnets', networkName, 'endpoints') }
    privateLinkServiceConnections: [
      {
        name: endpoint.service
        properties: {
          privateLinkServiceId: resourceId(endpoint.resourceType, endpoint.resourceName)
          groupIds: [endpoint.service]
        }
      }
    ]
  }

  resource entry 'privateDnsZoneGroups' = {
    name: 'default'
    properties: { privateDnsZoneConfigs: [{ name: endpoint.service, properties: { privateDnsZoneId: zone.id } }] }
  }
}
