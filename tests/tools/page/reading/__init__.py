"""Tests of what the pages read."""
