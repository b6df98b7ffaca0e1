"""Servers that a measurement talks to, each a process of its own on 127.0.0.1."""
