"""The post-back bridge: agentless tasks of Azure Pipelines wait for Azure ML runs without occupying an agent.

1. A task sends a request that names the run it waits for (``endpoint.py``, ``request.py``, ``plan_url.py``,
   ``workspaces.py``).
2. The journal stores the wait, with the task's token encrypted (``waits.py``, ``wait.py``, ``tokens.py``).
3. When the run has ended, the task is completed (``task_result.py``, ``task_client.py``, ``task_protocol.py``), without
   taking time from other tasks (``fairness/``).

The end of a run is known from its event, which may arrive before or after the task's request (``ends.py``), or from
Azure ML (``sweep.py``, ``aml.py``).

The package is imported only if the settings turn waits on, or when a run has ended (``ends.py``).
"""
