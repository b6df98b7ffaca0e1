"""Tests of the Azure Pipelines templates, samples and scripts."""
