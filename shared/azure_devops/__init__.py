"""The Azure DevOps REST API: requests and answers as plain data, and the client that sends them."""
