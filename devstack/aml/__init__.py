"""The one thing of Azure Machine Learning that nextstage asks for: the status of a job, from Azure Resource Manager.

The Azure DevOps emulator serves it beside its own addresses, so that one process is all of the cloud there is.
"""
