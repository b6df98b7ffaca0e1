// The id and the identity of the system topic, which this or another deployment created.
param name string

resource topic 'Microsoft.EventGrid/systemTopics@2025-02-15' existing = {
  name: name
}

output id string = topic.id
output principalId string = topic.identity.principalId
