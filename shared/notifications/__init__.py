"""Tells subscribers of outcomes, through an Event Grid topic."""
