"""What runs in Azure ML."""
