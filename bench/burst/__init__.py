"""Simulation of a burst too large for one machine: models of the Azure services, scenarios and a plot."""
