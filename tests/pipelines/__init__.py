"""The Azure Pipelines templates, samples and scripts."""
