"""Programs that rows run as new processes."""
