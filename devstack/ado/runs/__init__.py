"""Pipelines, runs and builds of the emulated Azure DevOps."""
