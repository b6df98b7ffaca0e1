"""The demo: delivers all sample events as Event Grid does, and shows their outcomes. ``make demo`` runs it."""
