"""Deployment: Bicep, hooks, queries and pipelines, held against the code and against each other."""
