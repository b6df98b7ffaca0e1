"""Kills a worker process before and after every call of a delivery, and lets another worker finish."""
