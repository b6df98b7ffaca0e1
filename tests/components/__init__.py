"""Tests of the components and jobs that run in Azure ML."""
