"""The soak test: thousands of events against faults of all kinds and killed hosts. ``make soak`` runs it."""
