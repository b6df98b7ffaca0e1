"""Events, the declaration of event types, and their common parts."""
