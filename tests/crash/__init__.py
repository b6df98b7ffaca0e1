"""Kills a worker process before and after every call that a delivery makes, and lets another one finish."""
