"""The only part of Azure Machine Learning that nextstage calls: the status of a job, through Azure Resource Manager.

The Azure DevOps emulator also serves this API, so one process emulates the whole cloud.
"""
