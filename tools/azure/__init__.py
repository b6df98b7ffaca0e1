"""Azure as an operator manages it: Azure Resource Manager, and the resources that bring events to the app."""
