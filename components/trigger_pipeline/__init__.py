"""The last step of an Azure ML job: queues an Azure DevOps pipeline for the model that the job has trained, once.

    python -m components.trigger_pipeline --modelpath … --modelname … --org … --project … --pipelineid …

It speaks to Azure DevOps as the app does, with the app's own client. Inputs, exit codes and what "once" means here:
docs/trigger-component.md.
"""
