"""Keeps one wait from taking what others need: time (``sharing.py``, ``backoff.py``) and places (``quotas.py``)."""
