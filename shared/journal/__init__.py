"""The journal: one record per occurrence and route, so that each event queues its pipeline exactly once."""
