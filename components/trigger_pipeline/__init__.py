"""The last step of an Azure ML job, which queues an Azure DevOps pipeline for the trained model, exactly once.

    python -m components.trigger_pipeline --modelpath … --modelname … --org … --project … --pipelineid …

It uses the app's client of Azure DevOps. docs/trigger-component.md describes the inputs, the exit codes and the limits
of "exactly once".
"""
