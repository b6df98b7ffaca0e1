"""Components and jobs that run in Azure ML."""
