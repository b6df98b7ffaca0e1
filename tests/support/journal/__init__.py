"""Journal stores for tests, and what goes around them."""
