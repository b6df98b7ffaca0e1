"""Programs that a row runs as fresh processes."""
