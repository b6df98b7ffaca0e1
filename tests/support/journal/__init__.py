"""Journal stores for tests, and wrappers for them."""
