"""Notifications: publishes outcomes to an Event Grid topic."""
