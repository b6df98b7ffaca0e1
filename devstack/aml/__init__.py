"""The jobs of Azure Machine Learning: their status, through Azure Resource Manager, and their post-backs to tasks.

The Azure DevOps emulator also serves this API, so one process emulates the whole cloud.
"""
