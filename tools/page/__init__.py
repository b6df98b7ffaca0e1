"""The operator's page: a website on the operator's own machine that shows what happened. Never deployed.

The server answers only this machine, and only a browser that has the token; see ``security.py``.
"""
