"""The post-back bridge: agentless tasks of Azure Pipelines wait for Azure ML runs, and no agent waits with them.

A task posts which run it waits for (``endpoint.py``, ``request.py``); the wait is kept in the journal (``waits.py``,
``wait.py``); when the run has ended, the task is told (``tasks.py``), which ends it. That a run has ended is known from
its event, from an event that came before the task (its final status is remembered), or from asking Azure ML
(``sweep.py``, ``aml.py``).

Imported only where the settings turn waits on.
"""
