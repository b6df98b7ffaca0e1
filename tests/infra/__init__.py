"""Tests of the deployment: Bicep, hooks, queries and CI agree with the code and with each other."""
