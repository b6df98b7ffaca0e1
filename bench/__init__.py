"""Benchmarks that compare the app with the alternatives (``make bench``). Never deployed."""
