// The virtual network of the profile private. The app calls from one subnet, and finds storage, vault and topic at
// private addresses in the other one.
param name string
param location string
param tags object

@description('The address range of the network, a /24 or larger. To peer it with another network, choose a free range.')
param prefix string

@description('Resource id of the NAT gateway through which the app calls; if empty, Azure chooses the address.')
param natGatewayId string

@description('Names of the private DNS zones in which the addresses are published.')
param zoneNames array

resource network 'Microsoft.Network/virtualNetworks@2025-09-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    addressSpace: { addressPrefixes: [prefix] }
    // Not as resources of their own: a deployment of the network removes subnets that it does not name.
    subnets: [
      {
        name: 'app'
        properties: {
          addressPrefix: cidrSubnet(prefix, 26, 0)
          // What Flex Consumption requires. Source: Azure Functions, "Flex Consumption plan hosting", considerations.
          delegations: [{ name: 'flex-consumption', properties: { serviceName: 'Microsoft.App/environments' } }]
          // Azure DevOps, Microsoft Entra and Application Insights are outside. Newer networks have no way out unless
          // they name one.
          natGateway: empty(natGatewayId) ? null : { id: natGatewayId }
          defaultOutboundAccess: empty(natGatewayId)
        }
      }
      {
        name: 'endpoints'
        properties: { addressPrefix: cidrSubnet(prefix, 26, 1), defaultOutboundAccess: false }
      }
    ]
  }
}

resource zones 'Microsoft.Network/privateDnsZones@2024-06-01' = [
  for zone in zoneNames: {
    name: zone
    location: 'global'
    tags: tags
  }
]

resource links 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2024-06-01' = [
  for (zone, i) in zoneNames: {
    parent: zones[i]
    name: name
    location: 'global'
    tags: tags
    properties: { registrationEnabled: false, virtualNetwork: { id: network.id } }
  }
]
