"""The endurance test: thousands of events, faults of all kinds, hosts that are killed. ``make soak`` runs it."""
