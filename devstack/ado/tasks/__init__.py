"""Agentless tasks of the emulated Azure DevOps."""
