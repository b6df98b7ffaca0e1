"""The demonstration: all sample events delivered as Event Grid does, and what came of each. ``make demo`` runs it."""
