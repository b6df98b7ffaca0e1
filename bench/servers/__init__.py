"""Servers for the measurements, each in its own process on 127.0.0.1."""
