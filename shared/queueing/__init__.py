"""Acting on claimed records: queue a run, or find the one that a lost request has queued."""
