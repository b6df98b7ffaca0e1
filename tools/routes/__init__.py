"""What can be said of a dispatch table without running it."""
