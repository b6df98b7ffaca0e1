"""Static analysis of a dispatch table."""
