"""Azure as an operator manages it: Azure Resource Manager, and what the app needs beside the workspace."""
